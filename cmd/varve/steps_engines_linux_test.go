package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/varve-image/varve/internal/enginetest"
	"github.com/varve-image/varve/internal/testtools"
)

// stepsUser is a user who builds an image with scripts.
type stepsUser struct {
	name string
	// wrap makes a command run as that user; nil leaves it as it is.
	wrap func(t *testing.T, cmd *exec.Cmd)
}

// stepsUsers are root, root of a container that has ids of its own, and an ordinary user.
var stepsUsers = []stepsUser{
	{name: "root"},
	{name: "root of a container", wrap: inContainer},
	{name: "one id", wrap: func(_ *testing.T, cmd *exec.Cmd) { asNobody(cmd) }},
}

// inContainer makes a command run as root of a user namespace with a range of ids,
// as in a container that an ordinary user has started.
func inContainer(_ *testing.T, cmd *exec.Cmd) {
	ids := []syscall.SysProcIDMap{{ContainerID: 0, HostID: 2000000000, Size: 65536}}
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWUSER, UidMappings: ids, GidMappings: ids, GidMappingsEnableSetgroups: true,
		Credential: &syscall.Credential{}}
}

// command returns a command that runs varve as that user, and its TMPDIR.
func (u stepsUser) command(t *testing.T, dir string, args ...string) (cmd *exec.Cmd, temp string) {
	t.Helper()
	temp = openDir(t, "")
	must(t, os.Chmod(temp, 0o777))
	cmd = varve(t, dir, args...)
	cmd.Env = append(cmd.Env, "TMPDIR="+temp)
	if u.wrap != nil {
		u.wrap(t, cmd)
	}
	return cmd, temp
}

// stepsExample is an image with scripts, like dockerTools' examples.
type stepsExample struct {
	name, spec string
	// command is run in a container and writes shows.
	command, shows string
	// needs is the example that this one uses as its base image.
	needs string
}

var stepsExamples = []stepsExample{
	{
		name: "redis", spec: `
fromImage: tools.tar
runAsRoot: |
  groupadd -r redis
  useradd -r -g redis -d /data -M redis
  mkdir /data
  chown redis:redis /data
config:
  Cmd: [/usr/bin/redis-server, --port, "0", --unixsocket, /data/socket, --daemonize, "yes"]
  User: redis
  WorkingDir: /data
  Volumes: {/data: {}}
`,
		command: `redis-server --port 0 --unixsocket /data/socket --daemonize yes >/dev/null
			until redis-cli -s /data/socket ping 2>/dev/null | grep PONG; do sleep 0.1; done
			redis-cli -s /data/socket set key value; redis-cli -s /data/socket get key; redis-cli -s /data/socket shutdown
			id -un; pwd; stat -c '%a %U:%G' /data; stat -c %a /etc/shadow; ls -d /proc /sys /nix 2>/dev/null || true`,
		shows: "PONG\nOK\nvalue\nredis\n/data\n755 redis:redis\n600\n/proc\n/sys\n",
	},
	{
		name: "quoted", spec: `
fromImage: tools.tar
runAsRoot: |
  (echo 'runAsRoot "(quoted)" $HOME' > /root.txt)
  mkdir -p /made
extraCommands: |
  (echo "extra '(commands)' $((1 + 2)) \"$(cat root.txt)\"" > made/extra.txt)
`,
		command: "cat /root.txt /made/extra.txt",
		shows:   "runAsRoot \"(quoted)\" $HOME\nextra '(commands)' 3 \"runAsRoot \"(quoted)\" $HOME\"\n",
	},
	{
		name: "on-redis", needs: "redis", spec: `
fromImage: redis.tar
runAsRoot: |
  test "$(stat -c %U /data)" = redis
  echo seed > /data/seed
  chown redis /data/seed
  rm -r /srv/old
  useradd -r -M second
config: {User: second}
`,
		command: "id -un; stat -c '%a %U:%G' /data /data/seed; ls /srv",
		shows:   "second\n755 redis:redis\n644 redis:root\nkept\n",
	},
	{
		name: "fakeroot", spec: `
fromImage: tools.tar
fakeRootCommands: |
  mkdir -p ./home/alice
  chown 1000:100 ./home/alice
  chmod 2700 ./home/alice
config: {User: "1000:100", WorkingDir: /home/alice}
`,
		command: "touch new; stat -c '%a %u:%g %n' . new",
		shows:   "2700 1000:100 .\n644 1000:100 new\n",
	},
	{
		name: "fakechroot", spec: `
copyToRoot: [shell]
keepContentsDirlinks: true
enableFakechroot: true
fakeRootCommands: |
  busybox mkdir -p /etc /home
  echo 'user:x:1000:1000::/home:/bin/sh' > /etc/passwd
  busybox chown user /home
config: {Env: [PATH=/bin], User: user, WorkingDir: /home}
`,
		command: "busybox id -un; busybox touch mine && busybox stat -c '%U %n' mine",
		shows:   "user\nuser mine\n",
	},
	{
		name: "without-scripts", spec: `
fromImage: tools.tar
layers:
  - remove: [/srv/old, "/usr/bin/redis-*"]
    users: [{name: app, uid: 1000, groups: [media]}]
    groups: [{name: media, gid: 44}]
  - remove: [/srv/kept]
    copyToRoot: [{content: "new\n", target: /srv/old/new, owner: app}]
directories: [{path: /srv/data, mode: 02750, owner: "app:media"}, {path: /home/app, mode: 0700}]
symlinks: {/opt/ls: ../bin/busybox}
perms: [{path: /bin/busybox, mode: 0555}]
config: {User: app, WorkingDir: /home/app}
`,
		command: `id; pwd; echo ~; /opt/ls /srv /srv/old /usr/bin; cat /srv/old/new; touch /srv/data/mine mine
			stat -c '%a %U:%G %n' . mine /srv/old/new /srv/data /srv/data/mine /bin/busybox /etc/shadow; grep app /etc/passwd`,
		shows: "uid=1000(app) gid=1000(app) groups=44(media),1000(app)\n/home/app\n/home/app\n/srv:\ndata\nold\n\n/srv/old:\nnew\n\n/usr/bin:\ngroupadd\nuseradd\nnew\n" +
			"700 app:app .\n644 app:app mine\n644 app:app /srv/old/new\n2750 app:media /srv/data\n644 app:media /srv/data/mine\n555 root:root /bin/busybox\n600 root:root /etc/shadow\n" +
			"app:x:1000:1000::/home/app:/bin/sh\n",
	},
}

// library finds the libraries in ldd's output.
var library = regexp.MustCompile(`/\S+\.so\S*`)

// newStepsExamples makes a directory with the specs and their ingredients: the
// image tools.tar, of busybox, redis, and the programs that make users, with their
// libraries.
func newStepsExamples(t *testing.T) string {
	t.Helper()
	testtools.NeedRoot(t)
	ldd := testtools.Need(t, "ldd")
	dir := openDir(t, "")
	must(t, os.Chmod(dir, 0o777))
	tree := filepath.Join(dir, "tools")
	copyFile := func(from, to string) {
		data, err := os.ReadFile(from)
		must(t, err)
		put(t, filepath.Join(tree, to), string(data), 0o755)
	}
	busybox := testtools.Need(t, "busybox")
	copyFile(busybox, "bin/busybox")
	copyFile(busybox, "../shell/bin/busybox")
	must(t, os.Symlink("busybox", filepath.Join(dir, "shell/bin/sh")))
	for _, applet := range strings.Fields("cat chmod chown grep id ls mkdir pwd rm sh sleep stat test touch") {
		must(t, os.Symlink("busybox", filepath.Join(tree, "bin", applet)))
	}
	for _, program := range []string{"redis-server", "redis-cli", "groupadd", "useradd"} {
		path := testtools.Need(t, program)
		copyFile(path, "usr/bin/"+program)
		out, err := exec.Command(ldd, path).Output()
		must(t, err)
		for _, name := range library.FindAllString(string(out), -1) {
			copyFile(name, name)
		}
	}
	put(t, filepath.Join(tree, "srv/old/file"), "", 0o644)
	put(t, filepath.Join(tree, "srv/kept"), "", 0o644)
	put(t, filepath.Join(dir, "tools.yaml"), `
name: tools
tag: one
copyToRoot: [tools]
keepContentsDirlinks: true
presets: [shadow, tmp]
config: {Env: ["PATH=/bin:/usr/bin"]}
`, 0o644)
	for _, e := range stepsExamples {
		put(t, filepath.Join(dir, e.name+".yaml"), "name: varve-"+e.name+"\ntag: one\n"+e.spec, 0o644)
	}
	mustRun(t, dir, "build", "tools.yaml", "-q", "-o", "tools.tar")
	return dir
}

// buildSteps builds an example, which may take as long as a virtual machine takes
// on a busy machine. It returns the archive's digest.
func buildSteps(t *testing.T, u stepsUser, dir, name, out string, args ...string) string {
	t.Helper()
	cmd, temp := u.command(t, dir, append([]string{"build", name + ".yaml", "-o", out}, args...)...)
	timer := time.AfterFunc(5*time.Minute, func() { _ = cmd.Process.Kill() })
	defer timer.Stop()
	began := time.Now()
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build %s: %v\n%s", name, err, text)
	}
	t.Logf("%s %s %q took %v", u.name, name, args, time.Since(began).Round(time.Millisecond))
	if left := names(temp); len(left) > 0 {
		t.Errorf("left in TMPDIR: %q", left)
	}
	return fingerprint(t, filepath.Join(dir, out), false)
}

// TestStepsExamples: dockerTools' examples of scripts come out the same
// whoever builds them, and in a virtual machine, and run as they should.
func TestStepsExamples(t *testing.T) {
	dir := newStepsExamples(t)
	for _, e := range stepsExamples {
		t.Run(e.name, func(t *testing.T) {
			if e.needs != "" {
				buildSteps(t, stepsUsers[0], dir, e.needs, e.needs+".tar")
			}
			want := buildSteps(t, stepsUsers[0], dir, e.name, e.name+".tar")
			same := func(name string, u stepsUser, args ...string) {
				t.Run(name, func(t *testing.T) {
					out := e.name + "-again.tar"
					defer os.Remove(filepath.Join(dir, out))
					if got := buildSteps(t, u, dir, e.name, out, args...); got != want {
						t.Errorf("the image is %s, root's is %s", got, want)
					}
				})
			}
			for _, u := range stepsUsers[1:] {
				same(u.name, u)
			}
			if e.name == "redis" || sweep { // a virtual machine takes its time
				same("virtual machine", needVM(t), "--isolation", "vm")
			}
			t.Run("docker", func(t *testing.T) { runExample(t, dir, e) })
		})
	}
}

// needVM returns a user who can start virtual machines.
func needVM(t *testing.T) stepsUser {
	return stepsUser{name: "virtual machine", wrap: func(_ *testing.T, cmd *exec.Cmd) {
		testtools.Need(t, "qemu-system-x86_64")
		if kernels, _ := filepath.Glob("/boot/vmlinuz-*"); len(kernels) == 0 {
			testtools.Lack(t, "there is no kernel in /boot")
		}
	}}
}

func runExample(t *testing.T, dir string, e stepsExample) {
	docker := engines.Get(t, "docker")
	ctx, cancel := context.WithTimeout(t.Context(), 12*deadline)
	defer cancel()
	image, err := docker.Load(ctx, filepath.Join(dir, e.name+".tar"))
	must(t, err)
	defer docker.Remove(t.Context(), image)
	checkDockerID(t, docker, image, filepath.Join(dir, e.name+".tar"))
	got, err := docker.Run(ctx, image, "/bin/sh", "-c", e.command)
	if want := (enginetest.Result{Stdout: e.shows}); err != nil || got != want {
		t.Errorf("run: %v\n%+v\nwant\n%+v", err, got, want)
	}
}
