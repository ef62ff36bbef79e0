package layering

import (
	"errors"
	"math"
	"reflect"
	"strings"
	"testing"
)

func TestAvailable(t *testing.T) {
	for _, tt := range []struct{ maxLayers, base, other, want int }{
		{100, 0, 1, 99},
		{2, 0, 1, 1},
		{100, 97, 2, 1},
		{100, 98, 2, 0},
		{1, 0, 1, 0},
		{0, 0, 0, 0},
		{-5, 0, 1, 0},
		{math.MinInt, 1, 1, 0},
		{math.MaxInt, 1, 1, math.MaxInt - 2},
		{10, math.MaxInt, math.MaxInt, 0},
		{math.MaxInt, -1, -1, math.MaxInt},
	} {
		got, err := Available(tt.maxLayers, tt.base, tt.other)
		if got != tt.want {
			t.Errorf("Available(%d, %d, %d) = %d, want %d", tt.maxLayers, tt.base, tt.other, got, tt.want)
		}
		if (err == nil) != (tt.want > 0) {
			t.Errorf("Available(%d, %d, %d): error %v", tt.maxLayers, tt.base, tt.other, err)
		}
	}
	_, err := Available(7, 5, 3)
	var limit *LimitError
	if !errors.As(err, &limit) || *limit != (LimitError{7, 5, 3}) {
		t.Fatalf("error is %#v, want a LimitError of 7, 5 and 3", err)
	}
	for _, want := range []string{"7 layers are allowed", "base image has 5", "are 3"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("error %q does not say %q", err, want)
		}
	}
}

func TestLimit(t *testing.T) {
	for _, tt := range []struct {
		order string
		n     int
		want  string
	}{
		{"", 3, ""},
		{"a b c", 3, "a|b|c"},
		{"a b c", 4, "a|b|c"},
		{"a b c d", 3, "a|b|c d"},
		{"a b c d", 2, "a|b c d"},
		{"a b c d", 1, "a b c d"},
		{"a b c d", 0, "a b c d"},
		{"a b c d", math.MinInt + 1, "a b c d"},
		{"a b", math.MaxInt, "a|b"},
	} {
		order := strings.Fields(tt.order)
		var got []string
		layers := Limit(order, tt.n)
		for _, layer := range layers {
			got = append(got, strings.Join(layer, " "))
		}
		if strings.Join(got, "|") != tt.want {
			t.Errorf("Limit(%s, %d) = %s, want %s", tt.order, tt.n, strings.Join(got, "|"), tt.want)
		}
		if err := CheckPartition(order, layers); err != nil {
			t.Errorf("Limit(%s, %d): %v", tt.order, tt.n, err)
		}
		for i := range layers {
			_ = append(layers[i], "overwritten")
		}
		if !reflect.DeepEqual(order, strings.Fields(tt.order)) {
			t.Errorf("Limit(%s, %d): appending to a layer changes another", tt.order, tt.n)
		}
	}
}

func TestCheckPartition(t *testing.T) {
	for _, tt := range []struct {
		paths, layers string
		want          []string // nil if no error is expected
	}{
		{"", "", nil},
		{"a b c", "c|a b", nil},
		{"a a", "a", nil},
		{"a b c", "a|b", []string{`"c" is in no layer`}},
		{"a b", "a|b|a", []string{`"a" is in layers 1 and 3`}},
		{"a b", "b a a", []string{`"a" is in layer 1 twice`}},
		{"a", "a|x", []string{`"x", in layer 2, is not one of`}},
		{"a b c", "x a|a", []string{`"x", in layer 1`, `layers 1 and 2`, `"b" is in no`, `"c" is in no`}},
		{"a a", "", []string{`"a" is in no layer`}},
	} {
		var layers [][]string
		for _, layer := range strings.Split(tt.layers, "|") {
			layers = append(layers, strings.Fields(layer))
		}
		err := CheckPartition(strings.Fields(tt.paths), layers)
		if tt.want == nil {
			if err != nil {
				t.Errorf("CheckPartition(%s, %s) = %v", tt.paths, tt.layers, err)
			}
			continue
		}
		if err == nil {
			t.Errorf("CheckPartition(%s, %s) finds nothing", tt.paths, tt.layers)
			continue
		}
		if n := strings.Count(err.Error(), "\n") + 1; n != len(tt.want) {
			t.Errorf("CheckPartition(%s, %s) finds %d faults, want %d: %v", tt.paths, tt.layers, n, len(tt.want), err)
		}
		for _, want := range tt.want {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("CheckPartition(%s, %s) says %q, want %q in it", tt.paths, tt.layers, err, want)
			}
		}
	}
}
