# Targets: build man demo test e2e engines test-engines sweep bench lint fuzz vendor-hash clean.
# "make test" is all there is to run before a change is sent.

GO       ?= go
VERSION  ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
FUZZTIME ?= 30s

# All that targets make, but the program itself.
WORK := .cache

# Built by the go command when it is first needed, a matter of minutes; it is
# no dependency of the module.
GOLANGCI := github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0

# The race detector needs a C compiler; the program itself never does.
RACE := $(shell command -v gcc >/dev/null 2>&1 && [ "$$($(GO) env GOARCH)" = amd64 ] && echo -race)
CGO := CGO_ENABLED=$(if $(RACE),1,0)
TEST := $(CGO) $(GO) run ./hack/testsum $(GO) test -json $(RACE) -count=1 -timeout=40m

# Of the packages that have other tests too. TestRun and the next three are enginetest's own.
ENGINE_TESTS := ^(TestRun|TestFormats|TestTools|TestStartRefuses|TestEngines|TestLoadNames|TestSuite|TestGaps|TestGapsRemoved|TestDiskFull|TestUmoci|TestClosureRuns|TestHybridEngines|TestHybridTools|TestLoad|TestLoadAll|TestLoadPushed|TestEnginePlatforms|TestLoadIndex|TestExport|TestDockerRegistry|TestDockerRegistryIndex|TestLayoutToRegistry|TestQuirksAppended|TestSecondMachine|TestRegistry.*)$$

.PHONY: build man demo test e2e engines test-engines sweep bench lint fuzz vendor-hash clean

build:
	CGO_ENABLED=0 $(GO) build -trimpath -buildvcs=false \
		-ldflags '-s -w -X github.com/varve-image/varve/internal/cli.version=$(VERSION)' -o varve ./cmd/varve

# Manual pages, of what --help says.
man:
	$(GO) run ./hack/mangen -o $(WORK)/man

# An image of varve itself: needs Go and git, nothing else.
demo: build
	mkdir -p $(WORK)/demo
	./varve build examples/01-static/image.yaml -o $(WORK)/demo/static.tar
	./varve inspect $(WORK)/demo/static.tar

# What vet has to compile is what the tests are compiled of.
test:
	sh hack/install-test-deps.sh
	$(CGO) $(GO) vet $(RACE) ./...
	$(TEST) ./...

# What a user sees: scripts of commands, and images in real engines.
e2e:
	sh hack/install-test-deps.sh
	$(TEST) ./cmd/... ./internal/enginetest/... ./examples/...

# Builds the engines of today, outside of the checkout; Debian's are older. Takes twelve minutes the
# first time.
engines:
	sh hack/install-test-deps.sh
	sh hack/engines/build.sh

# The engines' tests with them, in the place of Debian's.
test-engines: engines
	bin=$$(sh hack/engines/build.sh) && export VARVE_ENGINES=current PATH="$$bin:$$PATH" && \
	$(TEST) -run '$(ENGINE_TESTS)' ./internal/enginetest ./internal/place/engine ./internal/place/registry ./cmd/varve

# Inputs that come to 10 GB, builds killed at a thousand moments, and the whole suite of run steps in
# virtual machines; takes minutes.
sweep:
	sh hack/install-test-deps.sh
	VARVE_SWEEP=1 $(TEST) -run 'TestBombs|TestKill$$|TestMemoKill$$|TestMemoErrors$$|TestMemoProperty$$|TestMemoCoarse$$|TestMemoPower$$|TestKillSteps$$|TestInterruptSteps$$|TestStepsExamples$$' ./cmd/...
	VARVE_SWEEP=1 $(TEST) -run 'TestSuite$$' -timeout=60m ./internal/sandbox/vm
	VARVE_SWEEP=1 $(TEST) -run 'TestSystemCalls$$' ./layer

bench: build
	sh hack/install-test-deps.sh
	$(GO) run ./internal/bench -varve ./varve -work $(WORK)/bench

# Eight minutes of processor time, so four on two cores, with nothing built before: vet
# needs all packages for another system, golangci-lint and what it looks at have to be
# compiled, and SQLite is nine million bytes of Go. One minute from then on.
lint: export CGO_ENABLED = 0
lint:
	@unformatted=$$(gofmt -l $$(git ls-files --cached --others --exclude-standard '*.go')); \
	if [ -n "$$unformatted" ]; then echo "not formatted:"; echo "$$unformatted"; exit 1; fi
	GOOS=darwin $(GO) vet ./...
	$(GO) run $(GOLANGCI) run ./...
	@sh hack/apidiff.sh

fuzz:
	FUZZTIME=$(FUZZTIME) sh hack/fuzz.sh

# After a change of go.mod: the hash by which nixpkgs knows the modules.
vendor-hash:
	$(GO) run ./hack/vendorhash -w

clean:
	rm -rf varve $(WORK)
