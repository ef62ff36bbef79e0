// Package human writes sizes, counts and foreign text as people read them, and
// reads sizes as people write them. It knows no locale: what it writes depends on
// the value alone.
package human

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Size returns a number of bytes as a person reads it: whole bytes below 1000, then
// with one decimal in units of 1000, rounded half up: "999 B", "12.4 MB".
func Size(bytes int64) string {
	sign, n := "", uint64(bytes)
	if bytes < 0 {
		sign, n = "-", -n
	}
	if n < 1000 {
		return fmt.Sprintf("%s%d B", sign, n)
	}
	const units = "kMGTPE"
	unit := uint64(1000)
	i := 0
	for {
		whole, rest := n/unit, n%unit
		tenths := whole*10 + (rest*10+unit/2)/unit
		// What rounds up to 1000.0 is written as 1.0 of the next unit.
		if tenths < 10000 || i == len(units)-1 {
			return fmt.Sprintf("%s%d.%d %cB", sign, tenths/10, tenths%10, units[i])
		}
		unit *= 1000
		i++
	}
}

// units holds the factors of sizes: powers of 1000, and with an i of 1024 (IEC 80000-13).
var units = map[string]int64{
	"": 1, "k": 1000, "M": 1e6, "G": 1e9, "T": 1e12, "Ki": 1 << 10, "Mi": 1 << 20, "Gi": 1 << 30, "Ti": 1 << 40,
}

// ParseSize reads a number of bytes above 0, with a unit or without: 500MB, 20GiB, 4096.
func ParseSize(text string) (int64, error) {
	digits := strings.TrimRight(text, "BikKMGT")
	unit := strings.TrimSuffix(text[len(digits):], "B")
	if strings.HasPrefix(unit, "K") && unit != "Ki" {
		unit = "k" + unit[1:]
	}
	n, err := strconv.ParseInt(digits, 10, 64)
	factor, ok := units[unit]
	if err != nil || !ok || n <= 0 || n > math.MaxInt64/factor {
		return 0, errors.New("expected a size above 0, such as 500MB or 20GiB")
	}
	return n * factor, nil
}

// Count returns a number and the word for it, with an s unless the number is one: "1
// layer", "3 layers".
func Count(n int, word string) string {
	if n != 1 {
		word += "s"
	}
	return fmt.Sprintf("%d %s", n, word)
}

// Plain returns text without anything that a terminal would obey: unchanged, or quoted if
// it contains such a thing.
func Plain(s string) string {
	if quoted := strconv.Quote(s); quoted[1:len(quoted)-1] != strings.ReplaceAll(s, `"`, `\"`) {
		return quoted
	}
	return s
}
