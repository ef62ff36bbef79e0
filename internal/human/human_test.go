package human

import (
	"math"
	"strconv"
	"testing"
)

func TestSize(t *testing.T) {
	tests := []struct {
		n    int64
		want string
	}{
		{0, "0 B"},
		{1, "1 B"},
		{999, "999 B"},
		{1000, "1.0 kB"},
		{1049, "1.0 kB"},
		{1050, "1.1 kB"},
		{12_400_000, "12.4 MB"},
		{999_949, "999.9 kB"},
		{999_950, "1.0 MB"},
		{999_949_999, "999.9 MB"},
		{999_950_000, "1.0 GB"},
		{5_000_000_000, "5.0 GB"},
		{math.MaxInt64, "9.2 EB"},
		{-1, "-1 B"},
		{-1500, "-1.5 kB"},
		{math.MinInt64, "-9.2 EB"},
		{1e15 * 999, "999.0 PB"},
		{1e18 - 1, "1.0 EB"},
		{1e12 + 5e10, "1.1 TB"},
		{1e12 + 5e10 - 1, "1.0 TB"},
	}
	for _, tt := range tests {
		t.Run(strconv.FormatInt(tt.n, 10), func(t *testing.T) {
			if got := Size(tt.n); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestParseSize(t *testing.T) {
	tests := []struct {
		text string
		want int64 // 0 means an error
	}{
		{"1", 1},
		{"4096", 4096},
		{"7B", 7},
		{"1k", 1000},
		{"1kB", 1000},
		{"1K", 1000},
		{"1KB", 1000},
		{"1Ki", 1024},
		{"1KiB", 1024},
		{"500MB", 500e6},
		{"20GiB", 20 << 30},
		{"2T", 2e12},
		{"9223372036854775807", math.MaxInt64},
		{"8388607Ti", 8388607 << 40},
		{"8388608Ti", 0},
		{"9223372036854775808", 0},
		{"", 0},
		{"0", 0},
		{"0MB", 0},
		{"-1", 0},
		{"MB", 0},
		{"1.5G", 0},
		{"1ki", 0},
		{"1BB", 0},
		{"1 MB", 0},
		{"1m", 0},
	}
	for _, tt := range tests {
		t.Run(tt.text, func(t *testing.T) {
			got, err := ParseSize(tt.text)
			if got != tt.want || (err == nil) != (tt.want != 0) {
				t.Errorf("got %d, %v, want %d", got, err, tt.want)
			}
		})
	}
}

func TestCount(t *testing.T) {
	tests := []struct {
		n    int
		want string
	}{
		{0, "0 layers"},
		{1, "1 layer"},
		{2, "2 layers"},
	}
	for _, tt := range tests {
		t.Run(tt.want, func(t *testing.T) {
			if got := Count(tt.n, "layer"); got != tt.want {
				t.Errorf("got %q", got)
			}
		})
	}
}

func TestPlain(t *testing.T) {
	tests := []struct {
		name, text, want string
	}{
		{"a name", "hello:1", "hello:1"},
		{"no text", "", ""},
		{"quotes", `say "hello"`, `say "hello"`},
		{"letters", "größe", "größe"},
		{"an escape", "a\x1b[2J", `"a\x1b[2J"`},
		{"a newline", "a\nb", `"a\nb"`},
		{"a backslash", `a\b`, `"a\\b"`},
		{"not UTF-8", "a\xff", `"a\xff"`},
		{"text that runs backwards", "a\u202eb", `"a\u202eb"`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := Plain(tt.text); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}
