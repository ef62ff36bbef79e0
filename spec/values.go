package spec

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/distribution/reference"

	"github.com/varve-image/varve/internal/arch"
	"github.com/varve-image/varve/internal/compress"
	"github.com/varve-image/varve/internal/owner"
)

func itoa(i int) string { return strconv.Itoa(i) }

// imageName returns v's name in lower case, as dockerTools has it, if it is a
// repository name in the grammar of github.com/distribution/reference.
func (d *decoder) imageName(v value) string {
	s, ok := d.filled(v, "a name")
	if !ok {
		return ""
	}
	name := lowerASCII(s)
	ref, err := reference.ParseNormalizedNamed(name)
	switch {
	case errors.Is(err, reference.ErrNameTooLong):
		d.fail(v, "%s is longer than %d characters", quote(s), reference.RepositoryNameTotalLengthMax)
	case err != nil:
		d.fail(v, "%s is not a valid image name: want lower-case letters, digits and single . _ - between them, "+
			"parts divided by slashes, such as ghcr.io/acme/hello", quote(s))
	default:
		if _, ok := ref.(reference.Digested); ok {
			d.fail(v, "%s holds a digest: a name has none", quote(s))
		} else if _, ok := ref.(reference.Tagged); ok {
			d.fail(v, "%s holds a tag: move it to the field tag", quote(s))
		}
	}
	return name
}

// lowerASCII lower-cases A to Z only, so that no other letter becomes one that a
// name may contain.
func lowerASCII(s string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'A' && r <= 'Z' {
			return r + 'a' - 'A'
		}
		return r
	}, s)
}

var tagPattern = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^` + reference.TagRegexp.String() + `$`)
})

func (d *decoder) tag(v value) string {
	s, ok := d.filled(v, "a tag")
	if ok && !tagPattern().MatchString(s) {
		d.fail(v, "%s is not a valid tag: want 1 to 128 letters, digits and _ . -, the first one not . or -", quote(s))
	}
	return s
}

// tags returns a list of tags, each there once.
func (d *decoder) tags(v value) (tags []string) {
	d.items(v, "a list of tags", func(v value) {
		tag := d.tag(v)
		if tag != "" && slices.Contains(tags, tag) {
			d.fail(v, "%s is given twice", quote(tag))
		}
		tags = append(tags, tag)
	})
	return tags
}

// oneOf returns v's text if it is one of names.
func (d *decoder) oneOf(v value, names ...string) string {
	s, ok := d.line(v)
	if ok && !slices.Contains(names, s) {
		d.fail(v, "got %s, want %s%s", quote(s), alternatives(names), didYouMean(s, names))
	}
	return s
}

// alternatives returns "a, b or c".
func alternatives(names []string) string {
	last := len(names) - 1
	if last == 0 {
		return names[0]
	}
	return strings.Join(names[:last], ", ") + " or " + names[last]
}

// Architectures returns the values of Spec.Architecture: Go's names of the
// architectures that run Linux, which the OCI image specification uses.
func Architectures() []string { return arch.All() }

func (d *decoder) architecture(v value) string {
	s, ok := d.filled(v, "an architecture")
	if !ok || slices.Contains(Architectures(), s) {
		return s
	}
	hint := didYouMean(s, Architectures())
	if name, _, ok := arch.Lookup(strings.ToLower(s)); ok {
		hint = `; did you mean "` + name + `"?`
	}
	d.fail(v, "got %s, want %s%s", quote(s), alternatives(Architectures()), hint)
	return s
}

func (d *decoder) os(v value) string {
	s, ok := d.line(v)
	if ok && s != "linux" {
		d.fail(v, `got %s: varve makes images for "linux" only`, quote(s))
	}
	return s
}

// id returns a user or group id: decimal, as a number or a string.
func (d *decoder) id(v value) uint32 {
	if v.kind != number && v.kind != text {
		d.want(v, "a number from 0 to 4294967294")
		return 0
	}
	id, why, ok := parseID(v.text)
	if !ok {
		d.fail(v, "got %s, want a number from 0 to 4294967294%s", v.describe(), why)
	}
	return id
}

// parseID reads a decimal id. If it cannot, why may add to what is wanted.
func parseID(s string) (id uint32, why string, ok bool) {
	switch n, err := strconv.ParseUint(s, 10, 64); {
	case strings.Trim(s, "0123456789") != "" || s == "":
		return 0, " in decimal digits", false
	case len(s) > 1 && s[0] == '0':
		return 0, " without leading zeros, which some would read as octal", false
	case err != nil || n > owner.MaxID+1:
		return 0, "", false
	case n > owner.MaxID:
		return 0, `: 4294967295 means "no id" to the kernel`, false
	default:
		return uint32(n), "", true
	}
}

// idPointer is id for a field that may be unset.
func (d *decoder) idPointer(v value) *uint32 {
	id := d.id(v)
	return &id
}

// mode returns permission bits. They are octal however they are written:
// 0755, 0o755, 755 and "0755" are the same.
func (d *decoder) mode(v value) *uint32 {
	if v.kind != number && v.kind != text {
		d.want(v, "an octal mode such as 0755")
		return nil
	}
	mode, err := strconv.ParseUint(strings.TrimPrefix(v.text, "0o"), 8, 64)
	switch {
	case errors.Is(err, strconv.ErrRange) || err == nil && mode > 0o7777:
		d.fail(v, "got %s, want at most 07777", v.describe())
	case err != nil:
		d.fail(v, "got %s, want a mode in octal digits such as 0755", v.describe())
	}
	m := uint32(mode & 0o7777)
	return &m
}

// maxLayers returns a number from 1 to MaxLayers.
func (d *decoder) maxLayers(v value) int {
	if v.kind != number && v.kind != text {
		d.want(v, "a number from 1 to "+itoa(MaxLayers))
		return 0
	}
	n, err := strconv.ParseUint(v.text, 10, 64)
	if err != nil || n < 1 || n > MaxLayers {
		d.fail(v, "got %s, want a number from 1 to %d: engines stop between 125 and 127 layers", v.describe(), MaxLayers)
		return 0
	}
	return int(n)
}

// layerFormat returns a number from 1 to LayerFormat.
func (d *decoder) layerFormat(v value) int {
	if v.kind == number || v.kind == text {
		if n, err := strconv.Atoi(v.text); err == nil && 1 <= n && n <= LayerFormat && v.text == itoa(n) {
			return n
		}
	}
	d.fail(v, "got %s, want 1 or 2, the versions of the bytes of layers", v.describe())
	return LayerFormat
}

// timePattern is RFC 3339, with a space for its T, without a zone or as Git
// writes it, a date alone, and both as Nix has them in lastModifiedDate.
// time.Parse by itself accepts more than that.
var timePattern = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^(\d{8}(\d{6})?|(\d{4}-\d\d-\d\d)([T ](\d\d:\d\d:\d\d)(\.\d+)?( ?(Z|[+-]([01]\d|2[0-3]):?[0-5]\d))?)?)$`)
})

// seconds returns a time as seconds since 1970. forms names more forms that the
// caller accepts.
func (d *decoder) seconds(v value, forms string) int64 {
	wanted := "RFC 3339 such as 2024-02-29T12:00:00Z, a date, " + forms + `"@seconds"`
	switch {
	case v.kind == number && timePattern().MatchString(v.text):
		d.fail(v, `got %s: a date in digits needs quotes, "%s"; seconds since 1970 are written "@%s"`, v.describe(), v.text, v.text)
		return 0
	case v.kind == number:
		d.fail(v, `got %s, want %s: seconds since 1970 are written "@%s"`, v.describe(), wanted, clip(v.text))
		return 0
	case v.kind != text:
		d.want(v, wanted)
		return 0
	}
	seconds, why, ok := parseTime(v.text)
	if !ok {
		d.fail(v, "got %s%s; want %s", v.describe(), why, wanted)
	}
	return seconds
}

// parseTime reads a time. If it cannot, why may say what is wrong with s.
func parseTime(s string) (seconds int64, why string, ok bool) {
	if digits, ok := strings.CutPrefix(s, "@"); ok {
		n, err := strconv.ParseInt(digits, 10, 64)
		if strings.Trim(digits, "0123456789") != "" && !strings.HasPrefix(digits, "-") ||
			err != nil && !errors.Is(err, strconv.ErrRange) {
			return 0, ", which is not whole seconds", false
		}
		return checkTime(n)
	}
	if !timePattern().MatchString(s) {
		return 0, "", false
	}
	if strings.Contains(s, ".") {
		return 0, ", which has a fraction: times are whole seconds", false
	}
	t, err := time.Parse("20060102150405Z0700", digitsOf(s))
	if err != nil {
		return 0, ", which is not a date of the calendar", false
	}
	return checkTime(t.Unix())
}

// digitsOf returns a time that matches timePattern without what stands between
// its digits, and with the time of day and the zone that it may lack.
func digitsOf(s string) string {
	date, zone := s, "Z"
	if i := strings.IndexAny(s, "Z+"); i >= 0 {
		date, zone = s[:i], s[i:]
	} else if i := strings.LastIndex(s, "-"); i > len(time.DateOnly) {
		date, zone = s[:i], s[i:]
	}
	date = strings.NewReplacer("-", "", "T", "", ":", "", " ", "").Replace(date)
	if len(date) == len("20060102") {
		date += "000000"
	}
	return date + strings.Replace(zone, ":", "", 1)
}

func checkTime(seconds int64) (in int64, why string, ok bool) {
	switch {
	case seconds < 0:
		return 0, ", which is before 1970: tar readers differ on such times", false
	case seconds > MaxTime:
		return 0, ", which is after the year 9999", false
	}
	return seconds, "", true
}

// created returns a time or the moment of the build.
func (d *decoder) created(v value) *Time {
	if v.kind == text && v.text == "now" {
		return &Time{Now: true}
	}
	return &Time{Seconds: d.seconds(v, `"now" or `)}
}

// mtime returns a time that is fixed.
func (d *decoder) mtime(v value) int64 {
	if v.kind == text && v.text == "now" {
		d.fail(v, `got "now": the files' time must be fixed, or each build would change every layer`)
		return 0
	}
	return d.seconds(v, "or ")
}

// compressor returns an algorithm with an optional level, as it is written.
func (d *decoder) compressor(v value) string {
	s, ok := d.line(v)
	if !ok {
		return ""
	}
	if _, err := compress.Parse(s); err == nil {
		return s
	}
	name, _, _ := strings.Cut(s, ":")
	algorithm := compress.Algorithm(name)
	switch highest := algorithm.Highest(); {
	case !algorithm.Writable():
		meant := ""
		if a, ok := compress.Meant(name); ok {
			meant = fmt.Sprintf("; did you mean %q?", a)
		}
		d.fail(v, "got %s, want %s%s", quote(s), compress.Choices(), meant)
	case highest == 0:
		d.fail(v, "got %s: %s has no level", quote(s), name)
	default:
		d.fail(v, "got %s, want a level from 1 to %d", quote(s), highest)
	}
	return ""
}
