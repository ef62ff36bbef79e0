package nixstore

import (
	"bytes"
	"encoding/hex"
	"os/exec"
	"strings"
	"testing"

	"github.com/varve-image/varve/internal/testtools"
)

const testHash = "5pyppwda5h0yhy7qz8k21bs8nyvldcq1"

func TestParsePath(t *testing.T) {
	for _, test := range []struct {
		name, dir, path string
		wantName        string
		wantErr         string
	}{
		{"plain", "", "/nix/store/" + testHash + "-gcc-12.2.0+deb", "gcc-12.2.0+deb", ""},
		{"every kind of character", "", "/nix/store/" + testHash + "-aZ09+-._?=", "aZ09+-._?=", ""},
		{"dot first", "", "/nix/store/" + testHash + "-.git", ".git", ""},
		{"other store", "/tmp/s/", "/tmp/s/" + testHash + "-x", "x", ""},
		{"longest name", "", "/nix/store/" + testHash + "-" + strings.Repeat("x", 211), strings.Repeat("x", 211), ""},
		{"name too long", "", "/nix/store/" + testHash + "-" + strings.Repeat("x", 212), "", "212 characters"},
		{"below a path", "", "/nix/store/" + testHash + "-x/bin", "", `"/"`},
		{"slash at the end", "", "/nix/store/" + testHash + "-x/", "", `"/"`},
		{"empty name", "", "/nix/store/" + testHash + "-", "", "empty"},
		{"dot", "", "/nix/store/" + testHash + "-.", "", `"."`},
		{"dots", "", "/nix/store/" + testHash + "-..", "", `".."`},
		{"no dash", "", "/nix/store/" + testHash, "", "dash"},
		{"other than a dash", "", "/nix/store/" + testHash + "_x", "", "dash"},
		{"digit e", "", "/nix/store/e" + testHash[1:] + "-x", "", `"e"`},
		{"upper case digit", "", "/nix/store/" + testHash[1:] + "A-x", "", `"A"`},
		{"short hash", "", "/nix/store/abc-x", "", "hash part"},
		{"store directory itself", "", "/nix/store/", "", "hash part"},
		{"parent", "", "/nix/store/../" + testHash + "-x", "", "hash part"},
		{"outside", "", "/etc/passwd", "", "not in the store"},
		{"other store with the prefix", "", "/nix/store2/" + testHash + "-x", "", "not in the store"},
		{"double slash", "", "/nix/store//" + testHash + "-x", "", "base 32"},
		{"empty", "", "", "", "not in the store"},
		{"newline", "", "/nix/store/" + testHash + "-a\nb", "", `"\n"`},
		{"not ASCII", "", "/nix/store/" + testHash + "-é", "", `"\xc3"`},
		{"relative store", "nix", "nix/" + testHash + "-x", "", "store directory"},
		{"store is root", "/", "/" + testHash + "-x", "", "store directory"},
		{"store with dots", "/a/../b", "/b/" + testHash + "-x", "", "store directory"},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := ParsePath(test.dir, test.path)
			if test.wantErr != "" {
				wantError(t, err, test.wantErr)
				return
			}
			if want := (StorePath{testHash, test.wantName}); err != nil || got != want {
				t.Fatalf("got %v, %v; want %v", got, err, want)
			}
			if !strings.HasSuffix(test.path, "/"+got.String()) {
				t.Errorf("String() = %q of %q", got, test.path)
			}
		})
	}
}

func TestInStore(t *testing.T) {
	const p = "/nix/store/" + testHash + "-x"
	for _, test := range []struct {
		dir, path  string
		want, rest string
		ok         bool
	}{
		{"", p, p, "", true},
		{"", p + "/", p, "", true},
		{"", p + "/bin/sh", p, "bin/sh", true},
		{"", "/nix//./store/" + testHash + "-x//bin/.", p, "bin", true},
		{"", p + "/bin/../sh", "", "", false},
		{"", p + "/..", "", "", false},
		{"", p + "/a..b", p, "a..b", true},
		{"", "/nix/store", "", "", false},
		{"", "/nix/store/.links/x", "", "", false},
		{"", "nix/store/" + testHash + "-x", "", "", false},
		{"/other", p, "", "", false},
		{"/other/", "/other/" + testHash + "-x/y", "/other/" + testHash + "-x", "y", true},
		{"relative", "relative/" + testHash + "-x/y", "", "", false},
	} {
		got, rest, ok := InStore(test.dir, test.path)
		if got != test.want || rest != test.rest || ok != test.ok {
			t.Errorf("InStore(%q, %q) = %q, %q, %v; want %q, %q, %v", test.dir, test.path, got, rest, ok, test.want, test.rest, test.ok)
		}
	}
}

func FuzzParsePath(f *testing.F) {
	f.Add("/nix/store", "/nix/store/"+testHash+"-x")
	f.Add("", "/nix/store/../x")
	f.Add("/", "//")
	f.Fuzz(func(t *testing.T, dir, p string) {
		sp, err := ParsePath(dir, p)
		got, rest, ok := InStore(dir, p)
		if err != nil {
			return
		}
		if !ok || got != p || rest != "" {
			t.Errorf("InStore(%q, %q) = %q, %q, %v of a store path", dir, p, got, rest, ok)
		}
		if strings.Contains(sp.Name, "/") || len(sp.Hash) != hashLen || !strings.HasSuffix(p, "/"+sp.String()) {
			t.Errorf("ParsePath(%q, %q) = %+v", dir, p, sp)
		}
	})
}

// base32Table holds the output of nix-hash.
var base32Table = []struct{ hex, base32 string }{
	{"", ""},
	{"00", "00"},
	{"ff", "7z"},
	{"0000000000000000000000000000000000000001", "04000000000000000000000000000000"},
	{"da39a3ee5e6b4b0d3255bfef95601890afd80709", "143xibwh31h9bvxzalr0sjvbbvpa6ffs"},
	{"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", "0mdqa9w1p6cmli6976v4wi0sw9r4p5prkj7lzfd1877wk11c9c73"},
}

func TestBase32(t *testing.T) {
	for _, test := range base32Table {
		b, err := hex.DecodeString(test.hex)
		if err != nil {
			t.Fatal(err)
		}
		if got := Base32(b); got != test.base32 {
			t.Errorf("Base32(%s) = %s, want %s", test.hex, got, test.base32)
		}
		if got, err := ParseBase32(test.base32); err != nil || !bytes.Equal(got, b) {
			t.Errorf("ParseBase32(%q) = %x, %v; want %s", test.base32, got, err, test.hex)
		}
	}
	for _, test := range []struct{ in, wantErr string }{
		{"0", "whole number"},
		{"000", "whole number"},
		{"80", "too large"},
		{"zz", "too large"},
		{"0e", `"e" is not a digit`},
		{"0\xff", `"\xff" is not a digit`},
		{strings.Repeat("z", 52), "too large"},
	} {
		_, err := ParseBase32(test.in)
		wantError(t, err, test.wantErr)
	}
}

func TestBase32AgainstNix(t *testing.T) {
	nixHash := testtools.Need(t, "nix-hash")
	for seed := range byte(20) {
		for algo, size := range map[string]int{"sha1": 20, "sha256": 32} {
			b := make([]byte, size)
			for i := range b {
				b[i] = byte(i+1)*(seed*37+11) ^ seed
			}
			out, err := exec.Command(nixHash, "--type", algo, "--to-base32", hex.EncodeToString(b)).Output()
			if err != nil {
				t.Fatal(err)
			}
			if got, want := Base32(b), strings.TrimSpace(string(out)); got != want {
				t.Errorf("Base32(%x) = %s, Nix says %s", b, got, want)
			}
		}
	}
}

func FuzzBase32(f *testing.F) {
	for _, test := range base32Table {
		f.Add(test.base32)
	}
	f.Add("zz")
	f.Fuzz(func(t *testing.T, s string) {
		b, err := ParseBase32(s)
		if err == nil && Base32(b) != s {
			t.Errorf("%q reads as %x, which is written %q", s, b, Base32(b))
		}
		if back, err := ParseBase32(Base32([]byte(s))); err != nil || string(back) != s {
			t.Errorf("%q comes back as %q, %v", s, back, err)
		}
	})
}

// wantError checks that there is an error and that it contains each of the strings.
func wantError(t *testing.T, err error, parts ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error; want one with %q", parts)
	}
	for _, part := range parts {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("error %q does not hold %q", err, part)
		}
	}
}
