package layering

import (
	"bytes"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/varve-image/varve/internal/problems"
)

// A plan file says which paths share a layer, in the order of an image. It is text for people and
// for diffs: a first line with the version, then a paragraph for each layer, with a path in each
// line. Lines that begin with # are comments.
const (
	// PlanName is the name of a plan file where nobody names another, and PlanSuffix the end of the
	// name of every plan file.
	PlanName   = "layers.lock"
	PlanSuffix = ".lock"
	// MaxPlanSize limits the size of a plan file in bytes: 200,000 paths of 80 bytes.
	MaxPlanSize = 16 << 20
)

// planHeader is the first line of a plan file.
const planHeader = "varve layers 1"

// FormatPlan writes a plan file. Layers without paths are left out.
func FormatPlan(layers [][]string) ([]byte, error) {
	var b bytes.Buffer
	b.WriteString(planHeader + "\n# Which paths share a layer, bottom first. Written by varve lock --layers.\n")
	for _, paths := range layers {
		for i, path := range paths {
			if why := notPath(path); why != "" {
				return nil, fmt.Errorf("a plan cannot hold the path %q: %s", path, why)
			}
			if i == 0 {
				b.WriteByte('\n')
			}
			b.WriteString(path + "\n")
		}
	}
	return b.Bytes(), nil
}

// notPath says why a plan file cannot hold a path; empty if it can.
func notPath(path string) string {
	switch {
	case !utf8.ValidString(path):
		return "it is not UTF-8"
	case strings.IndexFunc(path, unicode.IsControl) >= 0:
		return "it has a control character"
	case strings.TrimSpace(path) != path || path == "":
		return "it begins or ends with a space, or is empty"
	case strings.HasPrefix(path, "#"):
		return "it begins with #"
	}
	return ""
}

// ParsePlan reads a plan file. Everything that is wrong is reported at once, with its line.
func ParsePlan(data []byte) ([][]string, error) {
	if len(data) > MaxPlanSize {
		return nil, fmt.Errorf("larger than %d MiB: that is not a plan", MaxPlanSize>>20)
	}
	first, rest, _ := strings.Cut(string(data), "\n")
	if first = strings.TrimSuffix(first, "\r"); first != planHeader {
		return nil, planVersion(first)
	}
	var faults problems.List
	var layers [][]string
	line := map[string]int{} // where a path was first
	open := false
	number := 1
	for text := range strings.SplitSeq(rest, "\n") {
		number++
		text = strings.TrimSuffix(text, "\r")
		switch {
		case text == "":
			open = false
			continue
		case strings.HasPrefix(text, "#"):
			continue
		}
		if why := notPath(text); why != "" {
			faults.Addf("line %d: %.200q: %s", number, text, why)
			continue
		}
		if before, ok := line[text]; ok {
			faults.Addf("line %d: %.200q is in line %d already", number, text, before)
			continue
		}
		line[text] = number
		if !open {
			layers = append(layers, nil)
			open = true
		}
		layers[len(layers)-1] = append(layers[len(layers)-1], text)
	}
	return layers, faults.Err()
}

// planVersion explains a first line that is not planHeader.
func planVersion(first string) error {
	if version, ok := strings.CutPrefix(first, strings.TrimSuffix(planHeader, "1")); ok {
		return fmt.Errorf("line 1: its version is %.20q, and this varve knows 1", version)
	}
	return fmt.Errorf("line 1: got %.40q, want %q: that is not a file of varve lock --layers", first, planHeader)
}
