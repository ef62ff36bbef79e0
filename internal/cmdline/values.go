package cmdline

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/varve-image/varve/internal/human"
)

// Size is the value of a flag for a size in bytes; zero means unset.
type Size int64

// Set reads a number with a unit.
func (b *Size) Set(text string) error {
	n, err := human.ParseSize(text)
	*b = Size(n)
	return err
}

func (b *Size) String() string {
	if *b == 0 {
		return ""
	}
	return strconv.FormatInt(int64(*b), 10)
}

// Type names the kind of value.
func (b *Size) Type() string { return "size" }

// MaxSize is the value of a flag for a limit in bytes that can be lifted; zero means unset.
type MaxSize int64

// NoMax lifts the limit.
const NoMax MaxSize = -1

// Set reads a number with a unit, or none.
func (m *MaxSize) Set(text string) error {
	if text == "none" {
		*m = NoMax
		return nil
	}
	n, err := human.ParseSize(text)
	if err != nil {
		return fmt.Errorf("%w, or none", err)
	}
	*m = MaxSize(n)
	return nil
}

func (m *MaxSize) String() string {
	switch *m {
	case 0:
		return ""
	case NoMax:
		return "none"
	}
	return strconv.FormatInt(int64(*m), 10)
}

// Type names the kind of value.
func (m *MaxSize) Type() string { return "size" }

// Age is the value of a flag for a duration, which may be in days.
type Age time.Duration

// Set reads a duration such as 30d or 12h.
func (a *Age) Set(text string) error {
	if days, ok := strings.CutSuffix(text, "d"); ok {
		if n, err := strconv.ParseUint(days, 10, 16); err == nil {
			*a = Age(n) * Age(day)
			return nil
		}
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < 0 {
		return errors.New("expected a time such as 30d or 12h")
	}
	*a = Age(d)
	return nil
}

const day = 24 * time.Hour

func (a *Age) String() string {
	if d := time.Duration(*a); d%day != 0 {
		return d.String()
	}
	return strconv.Itoa(int(time.Duration(*a)/day)) + "d"
}

// Type names the kind of value.
func (a *Age) Type() string { return "age" }

// ParsePairs parses the values KEY=VALUE of a flag.
func ParsePairs(flag string, list []string) (map[string]string, error) {
	pairs := map[string]string{}
	for _, text := range list {
		key, value, ok := strings.Cut(text, "=")
		if !ok || key == "" {
			return nil, Usage(fmt.Errorf("%s %q: expected KEY=VALUE", flag, text))
		}
		pairs[key] = value
	}
	return pairs, nil
}
