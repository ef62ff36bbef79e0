package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
)

// countsVariable names a file to which each run appends its last line.
const countsVariable = "TESTSUM_COUNTS"

// counts are how many tests passed, failed and were skipped.
type counts struct{ passed, failed, skipped int }

const countsFormat = "%d passed, %d failed, %d skipped"

func (c counts) String() string { return fmt.Sprintf(countsFormat, c.passed, c.failed, c.skipped) }

// appendCounts adds a line to a file, if there is to be one.
func appendCounts(path string, c counts) error {
	if path == "" {
		return nil
	}
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(f, c)
	return errors.Join(err, f.Close())
}

// total adds the lines of runs up.
func total(r io.Reader) (counts, error) {
	var sum counts
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		var c counts
		if _, err := fmt.Sscanf(lines.Text(), countsFormat, &c.passed, &c.failed, &c.skipped); err != nil {
			return counts{}, fmt.Errorf("%q does not count tests: %w", lines.Text(), err)
		}
		sum.passed += c.passed
		sum.failed += c.failed
		sum.skipped += c.skipped
	}
	return sum, lines.Err()
}

// printTotal prints what the runs in a file come to.
func printTotal(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	sum, err := total(f)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	fmt.Println(sum)
	return nil
}
