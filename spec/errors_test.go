package spec

import (
	"errors"
	"strings"
	"testing"
)

// badSpecs are inputs and their errors, one a line. Inputs whose schema is true
// are valid by the schema, which cannot express what is wrong.
var badSpecs = []struct {
	in     string
	want   string
	schema bool
}{
	{in: "", want: "spec: the spec is empty: it needs at least a name"},
	{in: "# nothing\n", want: "spec: the spec is empty: it needs at least a name"},
	{in: "~", want: "spec:1:1: got null, want an object with the fields of an image"},
	{in: "[a]", want: "spec:1:1: got a list, want an object with the fields of an image"},
	{in: "hello", want: `spec:1:1: got "hello", want an object with the fields of an image`},
	{in: "{}", want: `spec:1:1: name: missing: the image's name, such as "hello"`},
	{in: "name:\n", want: `spec:1:1: name: missing: the image's name, such as "hello"`},

	// Names of fields.
	{in: "name: a\ncopytoroot: b\n", want: `spec:2:1: copytoroot: unknown field; did you mean "copyToRoot"?`},
	{in: "name: a\nTag: b\n", want: `spec:2:1: Tag: unknown field; did you mean "tag"?`},
	{in: "name: a\ncotents: b\n", want: `spec:2:1: cotents: unknown field; did you mean "contents"?`},
	{in: "name: a\nentrypoint: [b]\n", want: `spec:2:1: entrypoint: unknown field; did you mean "config.Entrypoint"?`},
	{in: "name: a\nEnv: [b]\nfrom: c\ncopy: d\n", want: `spec:2:1: Env: unknown field; did you mean "config.Env"?` + "\n" +
		`spec:3:1: from: unknown field; did you mean "fromImage"?` + "\n" + `spec:4:1: copy: unknown field; did you mean "copyToRoot"?`},
	{in: "{name: a, copyToRoot: [{src: b, dest: c}]}", want: "spec:1:24: copyToRoot[0].source: missing: the path to copy, or content, the text of a file\n" +
		`spec:1:25: copyToRoot[0].src: unknown field; did you mean "source"?` + "\n" + `spec:1:33: copyToRoot[0].dest: unknown field; did you mean "target"?`},
	{in: "name: a\nnothingLikeIt: b\n", want: "spec:2:1: nothingLikeIt: unknown field"},
	{in: "name: a\n\"x\\ny\": b\n", want: `spec:2:1: ["x\ny"]: unknown field`},
	{in: "name: a\nname: b\n", want: "spec:2:1: name: given twice, first on line 1", schema: true},
	{in: "{\"name\": \"a\",\n\t\"tag\": \"b\",\n\t\"tag\": \"c\"}", want: "spec:3:2: tag: given twice, first on line 2", schema: true},
	{
		in:   "name: a\nconfig:\n  Env: []\n  x: [{a: 1, a: 2}]\n",
		want: "spec:4:14: config.x[0].a: given twice, first on line 4", schema: true,
	},
	{in: "name: a\ncopyToRoot: [{sorce: b}]\n", want: "spec:2:14: copyToRoot[0].source: missing: the path to copy, or content, the text of a file\n" +
		`spec:2:15: copyToRoot[0].sorce: unknown field; did you mean "source"?`},
	{in: "name: a\nrunAsRoot: [ls]\n", want: `spec:2:12: runAsRoot: got a list, want a string`},
	{in: "name: a\nrunAsRoot: \"ls\\0\"\n", want: `spec:2:12: runAsRoot: the script holds a NUL character`},
	{in: "name: a\npath: bin:/usr/bin\n", want: `spec:2:7: path: got "bin", want absolute paths below / without .. parts`, schema: true},
	{in: "name: a\npath: [/usr/bin, /]\n", want: `spec:2:18: path[1]: got "/", want absolute paths below / without .. parts`, schema: true},
	{in: "name: a\nisolation: docker\n", want: `spec:2:12: isolation: got "docker", want userns or vm`},
	{in: "name: a\nnetwork: bridge\n", want: `spec:2:10: network: got "bridge", want none or host`},
	{in: "name: a\nincludeNixDB: yes\n", want: `spec:2:15: includeNixDB: got "yes", want true or false`},
	{in: "name: a\nlayeringPipeline: {a: b}\n", want: `spec:2:19: layeringPipeline: got an object, want a list of operations, or the path of a JSON file that holds one`},
	{in: "name: a\nlayeringPipeline: []\nlayering: single\n", schema: true,
		want: "spec:1:1: layeringPipeline divides the store paths into layers, and layering: single makes one of everything: remove one of the two"},
	{in: "name: a\nlayering: popularity\nprevious: layers.lock\n", schema: true,
		want: "spec:3:11: previous: it is the plan of layering: stable, and layering is popularity: write layering: stable, or remove previous"},
	{in: "name: a\nlayering: auto\nprevious: auto\ntag: ''\n", want: "spec:3:11: previous: it is the plan of layering: stable, and layering is auto: write layering: stable, or remove previous\n" +
		"spec:4:6: tag: got an empty string, want a tag"},
	{in: "name: a\nlayeringPipeline: []\nprevious: layers.lock\n", schema: true,
		want: "spec:3:11: previous: layeringPipeline divides the store paths by itself, and looks at no plan: remove one of the two"},
	{in: "name: a\nlayering: stable\nprevious: '-'\n", want: "spec:3:11: previous: a plan is not read from standard input: name a file or an image", schema: true},
	{in: "name: a\nlayering: stable\nprevious: ''\n", want: "spec:3:11: previous: got an empty string, want an image reference or a path"},
	{in: "name: a\nlayering: stable\nprevious: [a]\n", want: "spec:3:11: previous: got a list, want a string"},
	{in: "name: a\nlayering: stable\nprevious: 'oci:'\n", want: `spec:3:11: previous: "oci:" names no path`, schema: true},
	{in: "name: a\nlayering: stable\nprevious: http://a/layers.lock\n", schema: true,
		want: `spec:3:11: previous: "http://a/layers.lock" is a URL: write "docker://a/layers.lock" for an image of a registry, and fetch an archive first`},
	{in: "name: a\nlayering: stabel\nprevious: auto\n", want: `spec:2:11: layering: got "stabel", want popularity, auto, stable or single; did you mean "stable"?`},
	{in: "name: a\ndiskSize: 0\n", want: `spec:2:11: diskSize: got the number 0, want a number of MiB from 1 to 16777216`},
	{in: "name: a\ncontents: [b, /nix/store/../../etc]\n", want: `spec:2:15: contents: "/nix/store/../../etc": write the path without .. parts`, schema: true},
	{in: "name: a\nconfig: {WorkingDir: rel}\n", want: `spec:2:22: config.WorkingDir: got "rel", want an absolute path`, schema: true},
	{in: "name: a\nconfig: {ExposedPorts: {99999/tcp: {}, 8000-8010/udp: {}, 80/foo: {}}}\n",
		want: "spec:2:25: config.ExposedPorts: \"99999/tcp\" is not a valid port: want 8080, 8080/udp or 8000-8010/tcp\n" +
			`spec:2:59: config.ExposedPorts: "80/foo" is not a valid port: want 8080, 8080/udp or 8000-8010/tcp`, schema: true},
	{in: "name: a\nfromImage: 'oci:'\n", want: `spec:2:12: fromImage: "oci:" names no path`, schema: true},
	{in: "name: a\nfromImage: base.tar\nfromImageName: b\n", want: `spec:1:1: fromImageName and fromImageTag go together: give both or neither`, schema: true},
	{in: "name: a\ninherit: some\n", want: `spec:2:10: inherit: got "some", want all or env`},

	// YAML and JSON themselves.
	{in: "name: a\n---\nname: b\n", want: "spec:2:1: a second document: a spec is one document", schema: true},
	{in: "name: [a\n", want: "spec:2:1: bad YAML: while parsing a flow sequence: did not find expected ',' or ']'"},
	{in: "mtime: @1", want: "spec:1:8: bad YAML: while scanning for the next token: found character that cannot start any token; put values that begin with @, %, a tab or a backquote in quotes"},
	{in: "name: &a b\ntag: *a\n", want: "spec:1:7: anchor &a: anchors are not supported; remove it\nspec:2:6: alias *a: aliases are not supported; write the value out"},
	{in: "name: a\n<<: {tag: b}\n", want: "spec:2:1: merge key <<: merge keys are not supported; write the fields out"},
	{in: "name: !foo b\n", want: "spec:1:7: tag !foo: tags are not supported; remove it, and put a string in quotes"},
	{in: "name: !!str 5\n", want: "spec:1:7: tag !!str: tags are not supported; remove it, and put a string in quotes"},
	{in: "name: a\nconfig: !!map {a: b}\n", want: "spec:2:9: tag !!map: tags are not supported; remove it, and put a string in quotes"},
	{in: "name: a\n? [b]\n: c\n", want: "spec:2:3: got a list for a key, want a string"},
	{in: "name: a\n~: c\n", want: "spec:2:1: got null for a key, want a string"},
	{in: "name: \xff\n", want: "spec:1:7: byte 0xff: the text is not UTF-8"},
	{in: "name: a\ntag: \x01\n", want: "spec:2:6: control character 0x01: write it as an escape in a quoted string"},
	{in: `{"name": "a", "config": {"User": "\ud83d"}}`, want: `spec:1:34: "\"\\ud83d\"" holds half of a surrogate pair`, schema: true},
	{in: `{"name": "a"} {}`, want: "spec:1:15: bad YAML: did not find expected <document start>"},

	// Kinds of values.
	{in: "name: 5", want: "spec:1:7: name: got the number 5, want a string: put it in quotes"},
	{in: "name: a\ntag: 1.10\n", want: "spec:2:6: tag: got the number 1.10, want a string: put it in quotes"},
	{in: "name: [a]", want: "spec:1:7: name: got a list, want a string"},
	{in: "name: a\ncontents: {a: b}\n", want: "spec:2:11: contents: got an object, want a list of paths"},
	{in: "name: a\ncontents: [[b]]\n", want: "spec:2:12: contents[0]: got a list, want a string"},
	{in: "name: a\ncontents: [null]\n", want: "spec:2:12: contents[0]: got null, want a string"},
	{in: "name: a\nkeepContentsDirlinks: yes\n", want: `spec:2:23: keepContentsDirlinks: got "yes", want true or false`},
	{in: "name: a\nkeepContentsDirlinks: 'true'\n", want: `spec:2:23: keepContentsDirlinks: got "true", want true or false`},
	{in: "name: a\nlabels: [b=c]\n", want: "spec:2:9: labels: got a list, want an object with strings"},
	{in: "name: a\nlabels: {b: [c], d: }\n", want: "spec:2:13: labels.b: got a list, want a string\n" +
		`spec:2:21: labels.d: got null, which takes a label of fromImage away, and there is no base: write "" for an empty one`},
	{in: "name: a\nannotations: {'': b}\n", want: "spec:2:15: annotations: a key is empty", schema: true},
	{in: "name: a\nlabels: {b: c}\nconfig: {Labels: {b: d}}\n", want: `spec:2:13: labels.b: got "c", but config.Labels has "d": remove one`, schema: true},

	// Names and tags.
	{in: "name: ''", want: "spec:1:7: name: got an empty string, want a name"},
	{in: "name: a:b", want: `spec:1:7: name: "a:b" holds a tag: move it to the field tag`, schema: true},
	{in: "name: a@sha256:" + strings.Repeat("0", 64), want: `spec:1:7: name: "a@sha256:` + strings.Repeat("0", 64) + `" holds a digest: a name has none`},
	{in: "name: a b", want: `spec:1:7: name: "a b" is not a valid image name: want lower-case letters, digits and single . _ - between them, parts divided by slashes, such as ghcr.io/acme/hello`},
	{in: "name: ../a", want: `spec:1:7: name: "../a" is not a valid image name: want lower-case letters, digits and single . _ - between them, parts divided by slashes, such as ghcr.io/acme/hello`},
	{in: "name: \u212aelvin", want: "spec:1:7: name: \"\u212aelvin\" is not a valid image name: want lower-case letters, digits and single . _ - between them, parts divided by slashes, such as ghcr.io/acme/hello"},
	{in: "name: a/" + strings.Repeat("b", 300), want: `spec:1:7: name: "a/` + strings.Repeat("b", 78) + `"… is longer than 255 characters`, schema: true},
	{in: `name: "a\0"`, want: `spec:1:7: name: "a\x00" holds the control character '\x00'`},
	{in: `{name: a, tag: "b\n"}`, want: `spec:1:16: tag: "b\n" holds the control character '\n'`},
	{in: "{name: a, tag: -b}", want: `spec:1:16: tag: "-b" is not a valid tag: want 1 to 128 letters, digits and _ . -, the first one not . or -`},
	{in: "{name: a, tag: b/../c}", want: `spec:1:16: tag: "b/../c" is not a valid tag: want 1 to 128 letters, digits and _ . -, the first one not . or -`},

	// Paths.
	{in: `{name: a, contents: ["b\nc"]}`, want: `spec:1:22: contents[0]: "b\nc" holds the control character '\n'`},
	{in: `{name: a, contents: ''}`, want: "spec:1:21: contents: got an empty string, want a path"},
	{in: "{name: a, copyToRoot: [{source: b, target: c/../../d}]}", want: `spec:1:44: copyToRoot[0].target: "c/../../d" leads out of the image: remove the .. parts`, schema: true},
	{in: `{name: a, copyToRoot: [{source: b, target: "c\0"}]}`, want: `spec:1:44: copyToRoot[0].target: "c\x00" holds the control character '\x00'`},
	{in: "{name: a, copyToRoot: [{source: b, exclude: ['[']}]}", want: `spec:1:46: copyToRoot[0].exclude[0]: "[" is not a valid glob: want * ? ** [a-z] {a,b}, and \ before such a character that stands for itself`, schema: true},
	{in: "{name: a, copyToRoot: [{source: b, exclude: ['../c']}]}", want: `spec:1:46: copyToRoot[0].exclude[0]: "../c" leads out: remove the .. parts`, schema: true},
	{in: "{name: a, storeDir: nix/store}", want: `spec:1:21: storeDir: got "nix/store", want an absolute path without . .. or empty parts, such as /nix/store`},
	{in: "{name: a, storeDir: /nix/../store}", want: `spec:1:21: storeDir: got "/nix/../store", want an absolute path without . .. or empty parts, such as /nix/store`, schema: true},
	{in: "{name: a, storeDir: /}", want: `spec:1:21: storeDir: got "/", want an absolute path without . .. or empty parts, such as /nix/store`},

	// Ids and owners.
	{in: "{name: a, uid: -1}", want: "spec:1:16: uid: got the number -1, want a number from 0 to 4294967294 in decimal digits"},
	{in: "{name: a, uid: 4294967295}", want: `spec:1:16: uid: got the number 4294967295, want a number from 0 to 4294967294: 4294967295 means "no id" to the kernel`},
	{in: "{name: a, gid: 4294967296}", want: "spec:1:16: gid: got the number 4294967296, want a number from 0 to 4294967294"},
	{in: "{name: a, gid: 99999999999999999999}", want: "spec:1:16: gid: got the number 99999999999999999999, want a number from 0 to 4294967294"},
	{in: "{name: a, uid: 0x0}", want: "spec:1:16: uid: got the number 0x0, want a number from 0 to 4294967294 in decimal digits", schema: true},
	{in: `{name: a, uid: "0x0"}`, want: `spec:1:16: uid: got "0x0", want a number from 0 to 4294967294 in decimal digits`},
	{in: "{name: a, uid: 1.5}", want: "spec:1:16: uid: got the number 1.5, want a number from 0 to 4294967294 in decimal digits"},
	{in: "{name: a, uid: 1e3}", want: "spec:1:16: uid: got the number 1e3, want a number from 0 to 4294967294 in decimal digits", schema: true},
	{in: "{name: a, uid: 0100}", want: "spec:1:16: uid: got the number 0100, want a number from 0 to 4294967294 without leading zeros, which some would read as octal", schema: true},
	{in: "{name: a, uid: ''}", want: `spec:1:16: uid: got "", want a number from 0 to 4294967294 in decimal digits`},
	{in: "{name: a, uid: true}", want: "spec:1:16: uid: got true, want a number from 0 to 4294967294"},
	{in: "{name: a, copyToRoot: [{source: b, owner: ro/ot}]}", want: `spec:1:43: copyToRoot[0].owner: got "ro/ot", want keep, "user:group" or one for both, each a name or a number from 0 to 4294967294 in decimal digits`},
	{in: "{name: a, copyToRoot: [{source: b, owner: 'root:-staff'}]}", want: `spec:1:43: copyToRoot[0].owner: got "root:-staff", want keep, "user:group" or one for both, each a name or a number from 0 to 4294967294 in decimal digits`, schema: true},
	{in: "{name: a, copyToRoot: [{source: b, owner: [1, 2]}]}", want: `spec:1:43: copyToRoot[0].owner: got a list, want keep, "user:group" or one for both, each a name or a number from 0 to 4294967294`},
	{in: "{name: a, copyToRoot: [{source: b, owner: '1:'}]}", want: `spec:1:43: copyToRoot[0].owner: got "1:", want keep, "user:group" or one for both, each a name or a number from 0 to 4294967294 in decimal digits`},
	{in: "{name: a, copyToRoot: [{source: b, owner: '1:4294967295'}]}", want: `spec:1:43: copyToRoot[0].owner: got "1:4294967295", want keep, "user:group" or one for both, each a name or a number from 0 to 4294967294: 4294967295 means "no id" to the kernel`, schema: true},

	// Modes.
	{in: "{name: a, perms: [{path: b, mode: u=rwx}]}", want: `spec:1:35: perms[0].mode: got "u=rwx", want a mode in octal digits such as 0755`},
	{in: "{name: a, perms: [{path: b, mode: 10000}]}", want: "spec:1:35: perms[0].mode: got the number 10000, want at most 07777"},
	{in: "{name: a, perms: [{path: b, mode: 493}]}", want: "spec:1:35: perms[0].mode: got the number 493, want a mode in octal digits such as 0755", schema: true},
	{in: "{name: a, perms: [{path: b, mode: 0x1ed}]}", want: "spec:1:35: perms[0].mode: got the number 0x1ed, want a mode in octal digits such as 0755", schema: true},
	{in: "{name: a, perms: [{path: b, mode: -1}]}", want: "spec:1:35: perms[0].mode: got the number -1, want a mode in octal digits such as 0755"},
	{in: "{name: a, perms: [{path: b, mode: 77777777777777777777777777}]}", want: "spec:1:35: perms[0].mode: got the number 77777777777777777777777777, want at most 07777"},
	{in: "{name: a, perms: [{path: b}]}", want: "spec:1:19: perms[0]: the rule sets nothing: give mode, owner, uid, gid or capabilities", schema: true},
	{in: "{name: a, perms: [{mode: 1}]}", want: "spec:1:19: perms[0].path: missing: the glob of the entries that the rule is for"},
	{in: "{name: a, perms: [b]}", want: `spec:1:19: perms[0]: got "b", want a rule with path and mode, owner or capabilities`},

	// Times.
	{in: "{name: a, mtime: now}", want: `spec:1:18: mtime: got "now": the files' time must be fixed, or each build would change every layer`},
	{in: "{name: a, mtime: 5}", want: `spec:1:18: mtime: got the number 5, want RFC 3339 such as 2024-02-29T12:00:00Z, a date, or "@seconds": seconds since 1970 are written "@5"`},
	{in: "{name: a, created: 20230101}", want: `spec:1:20: created: got the number 20230101: a date in digits needs quotes, "20230101"; seconds since 1970 are written "@20230101"`},
	{in: "{name: a, created: 2023-02-29}", want: `spec:1:20: created: got "2023-02-29", which is not a date of the calendar; want RFC 3339 such as 2024-02-29T12:00:00Z, a date, "now" or "@seconds"`, schema: true},
	{in: "{name: a, created: 2024-02-29T12:00:00.5Z}", want: `spec:1:20: created: got "2024-02-29T12:00:00.5Z", which has a fraction: times are whole seconds; want RFC 3339 such as 2024-02-29T12:00:00Z, a date, "now" or "@seconds"`},
	{in: "{name: a, created: '2024-02-29  12:00:00'}", want: `spec:1:20: created: got "2024-02-29  12:00:00"; want RFC 3339 such as 2024-02-29T12:00:00Z, a date, "now" or "@seconds"`},
	{in: "{name: a, created: '2024022912'}", want: `spec:1:20: created: got "2024022912"; want RFC 3339 such as 2024-02-29T12:00:00Z, a date, "now" or "@seconds"`},
	{in: "{name: a, created: '20230229'}", want: `spec:1:20: created: got "20230229", which is not a date of the calendar; want RFC 3339 such as 2024-02-29T12:00:00Z, a date, "now" or "@seconds"`, schema: true},
	{in: "{name: a, created: 2024-02-29T1:00:00Z}", want: `spec:1:20: created: got "2024-02-29T1:00:00Z"; want RFC 3339 such as 2024-02-29T12:00:00Z, a date, "now" or "@seconds"`},
	{in: "{name: a, mtime: 1969-12-31}", want: `spec:1:18: mtime: got "1969-12-31", which is before 1970: tar readers differ on such times; want RFC 3339 such as 2024-02-29T12:00:00Z, a date, or "@seconds"`, schema: true},
	{in: "{name: a, mtime: '@-1'}", want: `spec:1:18: mtime: got "@-1", which is before 1970: tar readers differ on such times; want RFC 3339 such as 2024-02-29T12:00:00Z, a date, or "@seconds"`},
	{in: "{name: a, mtime: '@253402300800'}", want: `spec:1:18: mtime: got "@253402300800", which is after the year 9999; want RFC 3339 such as 2024-02-29T12:00:00Z, a date, or "@seconds"`, schema: true},
	{in: "{name: a, mtime: '@99999999999999999999'}", want: `spec:1:18: mtime: got "@99999999999999999999", which is after the year 9999; want RFC 3339 such as 2024-02-29T12:00:00Z, a date, or "@seconds"`, schema: true},
	{in: "{name: a, mtime: '@1.5'}", want: `spec:1:18: mtime: got "@1.5", which is not whole seconds; want RFC 3339 such as 2024-02-29T12:00:00Z, a date, or "@seconds"`},
	{in: "{name: a, mtime: '@+1'}", want: `spec:1:18: mtime: got "@+1", which is not whole seconds; want RFC 3339 such as 2024-02-29T12:00:00Z, a date, or "@seconds"`},

	// Paths.
	{in: "name: a\ncopyToRoot: https://example.org/a.tar.gz\n", want: `spec:2:13: copyToRoot: "https://example.org/a.tar.gz" is a URL, and what goes into an image is a file: fetch it first, compare its hash, and name the file`, schema: true},
	{in: "name: a\ncontents: [file:///a]\nclosure: s3://b/c\n", want: `spec:2:12: contents[0]: "file:///a" is a URL, and what goes into an image is a file: fetch it first, compare its hash, and name the file` + "\n" +
		`spec:3:10: closure: "s3://b/c" is a URL, and what goes into an image is a file: fetch it first, compare its hash, and name the file`, schema: true},
	{in: "name: a\nfromImage: https://ghcr.io/a/b:1\n", want: `spec:2:12: fromImage: "https://ghcr.io/a/b:1" is a URL: write "docker://ghcr.io/a/b:1" for an image of a registry, and fetch an archive first`, schema: true},

	// Words.
	{in: "{name: a, architecture: X86_64}", want: `spec:1:25: architecture: got "X86_64", want ` + alternatives(Architectures()) + `; did you mean "amd64"?`},
	{in: "{name: a, architecture: amd46}", want: `spec:1:25: architecture: got "amd46", want ` + alternatives(Architectures()) + `; did you mean "amd64"?`},
	{in: "{name: a, os: windows}", want: `spec:1:15: os: got "windows": varve makes images for "linux" only`},
	{in: "{name: a, layering: popular}", want: `spec:1:21: layering: got "popular", want popularity, auto, stable or single; did you mean "popularity"?`},
	{in: "{name: a, closureRoots: files}", want: `spec:1:25: closureRoots: got "files", want contents or image`},
	{in: "{name: a, conflicts: never}", want: `spec:1:22: conflicts: got "never", want error, first or last`},
	{in: "{name: a, compressor: gzip}", want: `spec:1:23: compressor: got "gzip", want none, gz, zstd, gz:1 to gz:9 or zstd:1 to zstd:22; did you mean "gz"?`},
	{in: "{name: a, compressor: 'zst:3'}", want: `spec:1:23: compressor: got "zst:3", want none, gz, zstd, gz:1 to gz:9 or zstd:1 to zstd:22; did you mean "zstd"?`},
	{in: "{name: a, compressor: 'gz:10'}", want: `spec:1:23: compressor: got "gz:10", want a level from 1 to 9`},
	{in: "{name: a, compressor: 'gz:0'}", want: `spec:1:23: compressor: got "gz:0", want a level from 1 to 9`},
	{in: "{name: a, compressor: 'gz:'}", want: `spec:1:23: compressor: got "gz:", want a level from 1 to 9`},
	{in: "{name: a, compressor: 'none:1'}", want: `spec:1:23: compressor: got "none:1": none has no level`},
	{in: "{name: a, maxLayers: 0}", want: "spec:1:22: maxLayers: got the number 0, want a number from 1 to 127: engines stop between 125 and 127 layers"},
	{in: "{name: a, maxLayers: 128}", want: "spec:1:22: maxLayers: got the number 128, want a number from 1 to 127: engines stop between 125 and 127 layers"},
	{in: "{name: a, maxLayers: lots}", want: `spec:1:22: maxLayers: got "lots", want a number from 1 to 127: engines stop between 125 and 127 layers`},

	// Layers and presets.
	{in: "{name: a, layers: [{}]}", want: "spec:1:20: layers[0]: the layer holds nothing: give copyToRoot or other files, contents, or built", schema: true},
	{in: "{name: a, layers: [{contents: [], perm: []}]}", want: "spec:1:20: layers[0]: the layer holds nothing: give copyToRoot or other files, contents, or built\n" +
		`spec:1:35: layers[0].perm: unknown field; did you mean "perms"?`},
	{in: "{name: a, layers: [b]}", want: `spec:1:20: layers[0]: got "b", want an object with copyToRoot, contents or other files`},
	{in: "{name: a, presets: [caCerts]}", want: `spec:1:21: presets[0]: got "caCerts", want nss, shadow, binSh, usrBinEnv, caCertificates or tmp`},
	{in: "{name: a, presets: [binsh]}", want: `spec:1:21: presets[0]: got "binsh", want nss, shadow, binSh, usrBinEnv, caCertificates or tmp; did you mean "binSh"?`},
	{in: "{name: a, presets: [tmp, tmp]}", want: `spec:1:26: presets[1]: preset "tmp" given twice`, schema: true},
	{in: "{name: a, presets: [{temp: x}]}", want: `spec:1:22: presets[0]: got "temp", want nss, shadow, binSh, usrBinEnv, caCertificates or tmp; did you mean "tmp"?`},
	{in: "{name: a, presets: [{tmp: x}]}", want: "spec:1:27: presets[0].tmp: preset tmp takes no argument"},
	{in: "{name: a, presets: [{nss: {}, tmp: null}]}", want: "spec:1:21: presets[0]: got an object, want a preset's name or an object with one name and its argument"},
	{in: "{name: a, presets: [{nss: {extraPasswdLines: ['a:b']}}]}", want: `spec:1:47: presets[0].nss.extraPasswdLines[0]: got "a:b", want 7 parts: name:x:uid:gid:comment:home:shell`},

	// Files that are made.
	{in: "name: a\nremove: [/a, ../b, '[', 5, '']\n", want: `spec:2:14: remove[1]: "../b" leads out: remove the .. parts` + "\n" +
		`spec:2:20: remove[2]: "[" is not a valid glob: want * ? ** [a-z] {a,b}, and \ before such a character that stands for itself` + "\n" +
		"spec:2:25: remove[3]: got the number 5, want a string: put it in quotes\nspec:2:28: remove[4]: got an empty string, want a glob"},
	{in: "name: a\ndirectories: [/a/../b, {mode: 9, owner: keep}, {path: /c, uid: 5}, /d, d/]\n",
		want: `spec:2:15: directories[0]: "/a/../b" leads out of the image: remove the .. parts` + "\n" +
			"spec:2:24: directories[1].path: missing: the directory's path in the image\n" +
			"spec:2:31: directories[1].mode: got the number 9, want a mode in octal digits such as 0755\n" +
			`spec:2:41: directories[1].owner: got "keep", which is for tarballs in copyToRoot; want "user:group" or one for both, each a name or a number from 0 to 4294967294` + "\n" +
			"spec:2:59: directories[2].uid: unknown field\n" + `spec:2:72: directories[4]: "/d" is given twice`},
	{in: "name: a\ndirectories: {/a: 0755}\n", want: "spec:2:14: directories: got an object, want a list of paths or of {path, mode, owner}"},
	{in: "name: a\nsymlinks: {/a: b, a: c, /d: d, /e: '', /f: 5, /../g: h, /: i, /j: /j/}\n", want: `spec:2:19: symlinks.a: "/a" is given twice` + "\n" +
		`spec:2:29: symlinks./d: "/d" leads to itself: a symlink is PATH: WHAT IT LEADS TO` + "\n" + "spec:2:36: symlinks./e: got an empty string, want what the link leads to\n" +
		"spec:2:44: symlinks./f: got the number 5, want a string: put it in quotes\n" + `spec:2:47: symlinks["/../g"]: "/../g" leads out of the image: remove the .. parts` + "\n" +
		"spec:2:60: symlinks./: the root of the image is a directory: name a path below it\n" + `spec:2:67: symlinks./j: "/j" leads to itself: a symlink is PATH: WHAT IT LEADS TO`},
	{in: "name: a\nsymlinks: [/a]\n", want: "spec:2:11: symlinks: got a list, want an object with a link's text for each path, such as {/usr/bin/python: python3}"},
	{in: "{name: a, symlinks: {/a: " + strings.Repeat("b", 4096) + "}}", schema: true,
		want: `spec:1:26: symlinks./a: "` + strings.Repeat("b", 80) + `"… has 4096 bytes: a symlink holds at most 4095`},
	{in: "name: a\nusers: [{uid: 1}, -a, 'a:b', '..', '12', {name: b, uid: -1, gid: x, home: b, shell: '/a:b', comment: \"c\\nd\", createHome: yes}]\n", want: "spec:2:9: users[0].name: missing: the user's name\n" +
		`spec:2:19: users[1]: "-a" is not a valid name of a user or group: want letters, digits and . _ -, no - at the beginning, and not digits alone` + "\n" + `spec:2:23: users[2]: "a:b" is not a valid name of a user or group: want letters, digits and . _ -, no - at the beginning, and not digits alone` + "\n" + `spec:2:30: users[3]: ".." is not a valid name of a user or group: want letters, digits and . _ -, no - at the beginning, and not digits alone` + "\n" + `spec:2:36: users[4]: "12" is not a valid name of a user or group: want letters, digits and . _ -, no - at the beginning, and not digits alone` + "\n" +
		"spec:2:57: users[5].uid: got the number -1, want a number from 0 to 4294967294 in decimal digits\n" + `spec:2:66: users[5].gid: got "x", want a number from 0 to 4294967294 in decimal digits` + "\n" +
		`spec:2:75: users[5].home: got "b", want an absolute path` + "\n" + `spec:2:85: users[5].shell: "/a:b" holds a colon, which separates the parts of a line of /etc/passwd` + "\n" +
		`spec:2:102: users[5].comment: "c\nd" holds the control character '\n'` + "\n" + `spec:2:122: users[5].createHome: got "yes", want true or false`},
	{in: "name: a\nusers: [{name: b, uid: 5}, {name: c, uid: 5}, b, {name: d, gid: 5, group: e, groups: [f, '']}, " + strings.Repeat("g", 33) + "]\n",
		want: `spec:2:28: users[1]: the user "c" has the id 5 of "b"` + "\n" + `spec:2:47: users[2]: the user "b" is given twice` + "\n" +
			"spec:2:75: users[3].group: gid and group are two ways to say the same: remove one\nspec:2:90: users[3].groups[1]: got an empty string, want a name\n" +
			`spec:2:96: users[4]: "` + strings.Repeat("g", 33) + `" is longer than 32 characters`},
	{in: "name: a\nusers: [{name: b, home: /../c}]\n", want: `spec:2:25: users[0].home: "/../c" leads out of the image: remove the .. parts`, schema: true},
	{in: "name: a\ngroups: [{name: b, gid: 5}, {name: c, gid: 5, members: b c}, {member: d}]\n", want: `spec:2:29: groups[1]: the group "c" has the id 5 of "b"` + "\n" +
		`spec:2:56: groups[1].members: "b c" is not a valid name of a user or group: want letters, digits and . _ -, no - at the beginning, and not digits alone` + "\n" + "spec:2:62: groups[2].name: missing: the group's name\n" +
		`spec:2:63: groups[2].member: unknown field; did you mean "members"?`},
	{in: "{name: a, directories: [/a/.wh.b], symlinks: {.wh.c: d}, copyToRoot: [{content: x, target: /.wh..wh..opq}], users: [{name: e, home: /.wh.f, shell: \"/g\\nh\"}]}",
		want: `spec:1:25: directories[0]: "/a/.wh.b": a name that begins with .wh. removes another one in a layer` + "\n" +
			`spec:1:47: symlinks[".wh.c"]: "/.wh.c": a name that begins with .wh. removes another one in a layer` + "\n" +
			`spec:1:92: copyToRoot[0].target: "/.wh..wh..opq": a name that begins with .wh. removes another one in a layer` + "\n" +
			`spec:1:133: users[0].home: "/.wh.f": a name that begins with .wh. removes another one in a layer` + "\n" +
			`spec:1:148: users[0].shell: "/g\nh" holds the control character '\n'`},
	{in: "name: a\nusers: {a: b}\ngroups: 5\n", want: "spec:2:8: users: got an object, want a list of names or of {name, uid, …}\nspec:3:9: groups: got the number 5, want a list of names or of {name, gid, members}"},
	{in: "name: a\ncopyToRoot: [{content: x}, {content: x, target: /a/}, {content: x, target: /a, source: b, exclude: c, hardLinks: true}, {content: 5, target: /a, owner: keep}]\n",
		want: "spec:2:14: copyToRoot[0].target: missing: the path of the file, such as /etc/motd\n" + `spec:2:49: copyToRoot[1].target: got "/a/", want the path of the file, such as /etc/motd` + "\n" +
			"spec:2:88: copyToRoot[2].source: content is a whole file: source does not go with it\nspec:2:100: copyToRoot[2].exclude: content is a whole file: exclude does not go with it\n" +
			"spec:2:114: copyToRoot[2].hardLinks: content is a whole file: hardLinks does not go with it\nspec:2:131: copyToRoot[3].content: got the number 5, want a string: put it in quotes\n" +
			`spec:2:153: copyToRoot[3].owner: got "keep", which is for tarballs; want "user:group" or one for both, each a name or a number from 0 to 4294967294`},
	{in: `{name: a, copyToRoot: [{content: "a\0b", target: /a}]}`, want: "spec:1:34: copyToRoot[0].content: the text holds a NUL character: copy a file with source instead"},
	{in: "{name: a, perms: [{path: b, owner: c, uid: 1}, {path: d, owner: keep}]}", want: "spec:1:36: perms[0].owner: owner stands for uid and gid: remove one or the other\n" +
		`spec:1:65: perms[1].owner: got "keep", which is for tarballs in copyToRoot; want "user:group" or one for both, each a name or a number from 0 to 4294967294`, schema: true},
	{in: "{name: a, layers: [{built: b, users: [c]}]}", want: "spec:1:20: layers[0]: built is a whole layer: no other field goes with it", schema: true},

	// Config.
	{in: "{name: a, config: [b]}", want: "spec:1:19: config: got a list, want an object as in the OCI image specification"},
	{in: "name: a\nconfig:\n  Env: [A=b]\n  env: [C=d]\n", want: `spec:4:3: config.env: given twice: as "Env" and as "env"`, schema: true},
	{in: "{name: a, config: {ENV: []}}", want: `spec:1:20: config.ENV: unknown key; did you mean "Env"?`, schema: true},
	{in: "{name: a, config: {workingdir: /}}", want: `spec:1:20: config.workingdir: unknown key; did you mean "WorkingDir"?`, schema: true},
	{in: "{name: a, config: {Env: [A=b, B, =c]}}", want: "spec:1:31: config.Env[1]: got \"B\", want NAME=value\nspec:1:34: config.Env[2]: got \"=c\", want NAME=value"},
	{in: "{name: a, config: {Env: {A: b}}}", want: "spec:1:25: config.Env: got an object, want a list of strings"},
	{in: "{name: a, config: {cmd: /bin/sh}}", want: `spec:1:25: config.cmd: got "/bin/sh", want a list of strings: write ["/bin/sh"]`},
	{in: "{name: a, config: {Cmd: [sleep, 5]}}", want: "spec:1:33: config.Cmd[1]: got the number 5, want a string: put it in quotes"},
	{in: `{name: a, config: {Cmd: ["a\0b"]}}`, want: `spec:1:26: config.Cmd[0]: "a\x00b" holds a NUL: no program can be given that`},
	{in: "{name: a, config: {User: 1000}}", want: "spec:1:26: config.User: got the number 1000, want a string: put it in quotes"},
	{in: "{name: a, config: {ExposedPorts: [80/tcp]}}", want: `spec:1:34: config.ExposedPorts: got a list, want an object such as {"8080/tcp": {}}`},
	{in: "{name: a, config: {Volumes: {/data: rw}}}", want: `spec:1:37: config.Volumes./data: got "rw", want {}`},
	{in: "{name: a, config: {Labels: {a.b: 1}}}", want: `spec:1:34: config.Labels["a.b"]: got the number 1, want a string: put it in quotes`},
	{in: "{name: a, config: {Tty: 1}}", want: "spec:1:25: config.Tty: got the number 1, want true or false"},
	{in: "{name: a, config: {StopTimeout: 1.5}}", want: "spec:1:33: config.StopTimeout: got the number 1.5, want a whole number"},
	{in: "{name: a, config: {StopTimeout: 1500ms}}", want: `spec:1:33: config.StopTimeout: got "1500ms", want a time in whole seconds such as "1m30s", or the number of them`},
	{in: "{name: a, config: {Healthcheck: {Interval: -1s, Timeout: 5 minutes, Retries: 3s}}}", want: `spec:1:44: config.Healthcheck.Interval: got "-1s", want a time in whole nanoseconds such as "1m30s", or the number of them` + "\n" +
		`spec:1:58: config.Healthcheck.Timeout: got "5 minutes", want a time in whole nanoseconds such as "1m30s", or the number of them` + "\n" +
		`spec:1:78: config.Healthcheck.Retries: got "3s", want a whole number, or for a time one with units such as "30s"`, schema: true},
	{in: "{name: a, config: {Healthcheck: NONE}}", want: `spec:1:33: config.Healthcheck: got "NONE", want an object`},
	{in: "{name: a, config: {x: 0755}}", want: "spec:1:23: config.x: got the number 0755, want a number as JSON has it: decimal, no leading zero", schema: true},
	{in: "{name: a, config: {x: .inf}}", want: "spec:1:23: config.x: got the number .inf, want a number as JSON has it: decimal, no leading zero", schema: true},

	// All at once, in the order of lines.
	{in: "config: {Cmd: x}\nuid: -1\nxyz: 1\nname: A B\n", want: `spec:1:15: config.Cmd: got "x", want a list of strings: write ["x"]` + "\n" +
		"spec:2:6: uid: got the number -1, want a number from 0 to 4294967294 in decimal digits\n" +
		"spec:3:1: xyz: unknown field\n" +
		`spec:4:7: name: "A B" is not a valid image name: want lower-case letters, digits and single . _ - between them, parts divided by slashes, such as ghcr.io/acme/hello`},
}

func TestErrors(t *testing.T) {
	for _, tt := range badSpecs {
		_, err := Parse(strings.NewReader(tt.in), Options{})
		if err == nil {
			t.Errorf("%.100q is accepted, want %s", tt.in, tt.want)
			continue
		}
		if _, ok := errors.AsType[Errors](err); !ok {
			t.Errorf("%.100q: got a %T, want Errors", tt.in, err)
		}
		if got := err.Error(); got != tt.want {
			t.Errorf("%.100q:\n got %s\nwant %s", tt.in, got, tt.want)
		}
	}
}

func TestErrorsAreLimited(t *testing.T) {
	_, err := Parse(strings.NewReader("name: a\n"+strings.Repeat("b: c\n", 1000)), Options{File: "f"})
	errs, ok := errors.AsType[Errors](err)
	if !ok || len(errs) != MaxErrors+1 {
		t.Fatalf("got %d errors, want %d", len(errs), MaxErrors+1)
	}
	// The second b and those after it are repeated, and b is unknown.
	if got, want := errs[MaxErrors].Error(), "f: and 900 more errors"; got != want {
		t.Errorf("the last one is %q, want %q", got, want)
	}
}

func TestErrorFields(t *testing.T) {
	_, err := Parse(strings.NewReader("name: a\nlayers:\n- contents: 5\n"), Options{File: "dir/image.yaml"})
	e, ok := errors.AsType[*Error](err)
	if !ok {
		t.Fatalf("got %v", err)
	}
	want := Error{
		File: "dir/image.yaml", Line: 3, Column: 13, Field: "layers[0].contents",
		Message: "got the number 5, want a list of paths",
	}
	if *e != want {
		t.Errorf("got %+v, want %+v", *e, want)
	}
}
