package assemble

import (
	"encoding/binary"
	"errors"
	"os"
	"strings"
	"testing"
)

// elfOf returns the beginning of a program for a machine (e_machine) with a loader.
func elfOf(machine uint16, loader string) string {
	b := make([]byte, 256)
	copy(b, "\x7fELF\x02\x01")
	binary.LittleEndian.PutUint16(b[18:], machine)
	binary.LittleEndian.PutUint64(b[32:], 64)
	binary.LittleEndian.PutUint16(b[54:], 56)
	if loader != "" {
		binary.LittleEndian.PutUint16(b[56:], 1)
		binary.LittleEndian.PutUint32(b[64:], 3)
		binary.LittleEndian.PutUint64(b[72:], 200)
		binary.LittleEndian.PutUint64(b[96:], uint64(len(loader)+1))
		copy(b[200:], loader)
	}
	return string(b)
}

const (
	machineAMD64 = 62
	machineARM64 = 183
	machine386   = 3
)

// TestWarnings: what is allowed and probably not intended causes a warning that
// says what to write; correct specs cause none.
func TestWarnings(t *testing.T) {
	dir := makeFiles(t, map[string]string{
		"files/bin/static": elfOf(machineAMD64, ""), "files/bin/dynamic": elfOf(machineAMD64, "/lib64/ld.so"), "files/lib/ld.so": "ld", "files/lib64": "-> lib",
		"files/bin/other-loader": elfOf(machineAMD64, "/lib/ld-musl.so"), "files/bin/arm": elfOf(machineARM64, ""), "files/bin/old": elfOf(machine386, ""),
		"files/bin/mac": "\xcf\xfa\xed\xfe....", "files/bin/dos.exe": "MZ..", "files/bin/script": "#!/bin/static -x\n", "files/bin/crlf": "#!/bin/static\r\n",
		"files/bin/bash-script": "#!/bin/bash\n", "files/bin/link": "-> static", "files/bin/gone": "-> nowhere", "files/bin/loop": "-> loop", "files/opt/tool": elfOf(machineAMD64, ""),
		"files/bin/two words": elfOf(machineAMD64, ""), "files/etc/passwd": "root:x:0:0:::\napp:x:5:5:::\n", "files/etc/group": "app:x:5:\n", "more": "x", "files/data": "text",
		"lists/etc/passwd":            "-> " + appPath + "/passwd",
		"root" + appPath + "/bin/app": elfOf(machineAMD64, "/lib/missing.so"), "root" + appPath + "/passwd": "nix:x:1:1:::\n", "root" + appPath + "/bin/link": "-> ../../" + bashPath[len("/nix/store/"):] + "/bin/sh",
		"root" + bashPath + "/bin/sh": elfOf(machineAMD64, ""),
	})
	for _, name := range []string{appPath + "/bin/app", bashPath + "/bin/sh"} {
		if err := os.Chmod(dir+"/root"+name, 0o555); err != nil {
			t.Fatal(err)
		}
	}
	makeBase(t, dir, "name: base\ncopyToRoot: [files]\nperms: [{path: '/bin/*', mode: 0755}]\nconfig: {Env: ['PATH=/bin:/opt'], Cmd: [arm], User: app, ExposedPorts: {80/tcp: {}}}\n")
	const files = "copyToRoot: [files]\nkeepContentsDirlinks: true\nperms: [{path: '/{bin,opt}/*', mode: 0755}]\n"
	const store = "contents: [" + appPath + ", " + bashPath + "]\n"
	for name, tt := range map[string]struct {
		spec string
		want []string
	}{
		"nothing":            {files, nil},
		"static":             {files + "config: {Cmd: [/bin/static]}", nil},
		"by PATH":            {files + "config: {Entrypoint: [static], Cmd: [-x, a b]}", nil},
		"by the image's":     {files + "config: {Cmd: [tool], Env: ['PATH=/opt:/bin']}", nil},
		"relative":           {files + "config: {Cmd: [../bin/static], WorkingDir: /opt}", nil},
		"dynamic":            {files + "config: {Cmd: [/bin/dynamic]}", nil},
		"script":             {files + "config: {Cmd: [/bin/script]}", nil},
		"link":               {files + "config: {Cmd: [/bin/link]}", nil},
		"with a space":       {files + "config: {Cmd: [/bin/two words]}", nil},
		"32 bits":            {files + "config: {Cmd: [/bin/old]}", nil},
		"users":              {files + "config: {User: 'app:app'}", nil},
		"numbers":            {"config: {User: '1000:1000'}", nil},
		"in the store":       {store + "config: {Cmd: [" + appPath + "/bin/link]}", nil},
		"user in the store":  {store + "copyToRoot: [lists]\nconflicts: first\nconfig: {User: nix}", nil},
		"owner in the store": {store + "uid: 5", nil},
		"owner of copies":    {files + "uid: 5\nlayering: single", nil},
		"shell text":         {files + "config: {Cmd: [static, -c, 'echo $HOME ${X}'], Env: ['PS1=$PWD', 'PRICE=5$', 'HASH=a$b'], Labels: {rule: '$1'}}", nil},
		"the base's":         {"fromImage: base.tar", nil},

		"words":                 {files + "config: {Cmd: ['/bin/static -v']}", []string{`config.Cmd: the image has no file "/bin/static -v": each word is an item of its own, ["/bin/static", "-v"]`}},
		"not there":             {files + "config: {Entrypoint: [/bin/hello], Cmd: [x]}", []string{`config.Entrypoint: the image has no "/bin/hello": copy it`}},
		"not in PATH":           {files + "config: {Cmd: [tool]}", []string{`config.Cmd: the image has no program "tool" in its PATH, /usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:`}},
		"a broken link":         {files + "config: {Cmd: [/bin/gone]}", []string{`config.Cmd: the image has no "/bin/gone"`}},
		"a circle":              {files + "config: {Cmd: [/bin/loop]}", []string{`config.Cmd: the image has no "/bin/loop"`}},
		"a directory":           {files + "config: {Cmd: [/bin]}", []string{`config.Cmd: "/bin" is a directory in the image`}},
		"not executable":        {files + "config: {Cmd: [/data]}", []string{`config.Cmd: nobody may execute "/data", whose mode is 0644`}},
		"macOS":                 {files + "config: {Cmd: [/bin/mac]}", []string{`config.Cmd: "/bin/mac" is a program for macOS (Mach-O), and images run on Linux: build it for linux/amd64`}},
		"Windows":               {files + "config: {Cmd: [/bin/dos.exe]}", []string{`"/bin/dos.exe" is a program for Windows (PE)`}},
		"arm64":                 {files + "config: {Cmd: [/bin/arm]}", []string{`config.Cmd: "/bin/arm" is a program for arm64, and the image is for amd64`}},
		"for arm64":             {files + "architecture: arm64\nconfig: {Cmd: [/bin/static]}", []string{`"/bin/static" is a program for amd64, and the image is for arm64`}},
		"no loader":             {files + "config: {Cmd: [other-loader]}", []string{`config.Cmd: "other-loader" is run by "/lib/ld-musl.so", which the image does not have: link it statically`}},
		"no interpreter":        {files + "config: {Cmd: [bash-script]}", []string{`config.Cmd: "bash-script" is run by "/bin/bash", which the image does not have`}},
		"lines of DOS":          {files + "config: {Cmd: [crlf]}", []string{`config.Cmd: "crlf" is run by "/bin/static\r", which`}},
		"health":                {files + "config: {Healthcheck: {Test: [CMD, curl, x]}}", []string{`config.Healthcheck.Test: the image has no program "curl" in its PATH`}},
		"health in a shell":     {files + "config: {Healthcheck: {Test: [CMD-SHELL, curl x]}}", []string{`config.Healthcheck.Test: the image has no "/bin/sh"`}},
		"not in the store path": {store + "config: {Cmd: [" + appPath + "/bin/ap]}", []string{`config.Cmd: the image has no "` + appPath + `/bin/ap"`}},
		"loader in the image":   {store + "config: {Cmd: [" + appPath + "/bin/app]}", []string{`is run by "/lib/missing.so", which`}},

		"user":             {files + "config: {User: 'web:www'}", []string{`config.User: the image's /etc/passwd does not have the user "web"`, `config.User: the image's /etc/group does not have the group "www"`}},
		"no users":         {"config: {User: root}", []string{`config.User: the user "root" is not known in the image, which has no /etc/passwd, so that it cannot be started: write the number`}},
		"user of the base": {"fromImage: base.tar\nconfig: {User: web}", []string{`config.User: the image's /etc/passwd does not have the user "web"`}},

		"variables": {files + "config: {Env: ['PATH=/opt:$PATH', 'A=${HOME}/x', 'B=${C:-d}'], Labels: {v: '${VERSION}'}, WorkingDir: /$HOME, Volumes: {'/${D}': {}}}\nannotations: {a: '$TAG'}", []string{
			`config.Env: "PATH" holds $PATH, which nothing expands: write its value, such as PATH=/opt/bin:/usr/local/sbin:`, `config.Env: "A" holds ${HOME}, which`, `config.Env: "B" holds ${C}, which`,
			`config.Labels: "v" holds ${VERSION}`, `config.WorkingDir: "WorkingDir" holds $HOME`, `config.Volumes: "/${D}" holds ${D}`, `annotations: "a" holds $TAG`}},
		"PATH on a base": {"fromImage: base.tar\nconfig: {Env: ['PATH=/x:$PATH'], Cmd: [/bin/static]}", []string{`such as PATH=/opt/bin:/bin:/opt`}},

		"owner without store paths": {files + "uid: 1000\ngid: 100", []string{`uid, gid, uname and gname are of store paths, which the image has none of: copyToRoot has owner (owner: "1000:100"), and perms gives owners by path`}},
		"name of an owner":          {files + "uname: app", []string{"uid, gid, uname and gname are of store paths"}},
		"without scripts":           {files + "shell: /bin/sh\nnetwork: host\nisolation: vm\nenableFakechroot: true", []string{"enableFakechroot has no effect without fakeRootCommands", "shell has no effect without a script", "isolation has no effect", "network has no effect"}},
		"excludes": {"copyToRoot: [{source: files, exclude: ['*/passwd', tool, nothing, '/opt/**']}]\nlayers: [{copyToRoot: [{source: more, exclude: [x]}]}]", []string{
			`layers[0].copyToRoot[0]: exclude "x" matches nothing in`, `copyToRoot[0]: exclude "tool" matches nothing in "` + dir + `/files": globs start at the source's root: "**/tool" matches at any depth`,
			`copyToRoot[0]: exclude "nothing" matches nothing in "` + dir + `/files": remove it, or write another`}},
		"takes nothing": {"fromImage: base.tar\nconfig: {ExposedPorts: {80/tcp: null, 81/tcp: null}, Labels: {a: null}}", []string{
			`config.ExposedPorts: null takes "81/tcp" of the base image away, which has none`, `config.Labels: null takes "a" of`}},
	} {
		t.Run(name, func(t *testing.T) {
			r := mustBuild(t, dir, "name: a\n"+tt.spec)
			if len(r.Warnings) != len(tt.want) {
				t.Fatalf("warnings:\n%v\nwant\n%s", errors.Join(r.Warnings...), strings.Join(tt.want, "\n"))
			}
			for i, want := range tt.want {
				if !strings.Contains(r.Warnings[i].Error(), want) {
					t.Errorf("warning %d is\n%s\nwant\n%s", i, r.Warnings[i], want)
				}
			}
		})
	}
}
