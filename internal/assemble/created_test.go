package assemble

import (
	"encoding/json"
	"testing"
	"time"
)

// TestCreated: it is in whole seconds and UTC, in the config and its history.
func TestCreated(t *testing.T) {
	epoch := int64(86400)
	east := time.FixedZone("east", 3600)
	for _, tt := range []struct {
		name, spec string
		opts       Options
		want       string
	}{
		{"default", "", Options{}, "1970-01-01T00:00:01+00:00"},
		{"environment", "", Options{SourceDateEpoch: &epoch}, "1970-01-02T00:00:00+00:00"},
		{"spec", "created: '@5'", Options{SourceDateEpoch: &epoch}, "1970-01-01T00:00:05+00:00"},
		{"now", "created: now", Options{Now: time.Date(2024, 2, 29, 13, 0, 7, 999_999_999, east), SourceDateEpoch: &epoch}, "2024-02-29T12:00:07+00:00"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r, err := tryBuild(t, makeFiles(t, map[string]string{"root/": ""}), "name: a\n"+tt.spec, tt.opts)
			if err != nil {
				t.Fatal(err)
			}
			data, err := r.Image.RawConfig(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			var config struct {
				Created string
				History []struct{ Created string }
			}
			if err := json.Unmarshal(data, &config); err != nil {
				t.Fatal(err)
			}
			if config.Created != tt.want || len(config.History) != 1 || config.History[0].Created != tt.want {
				t.Errorf("created is %q, the history has %v; want %q", config.Created, config.History, tt.want)
			}
		})
	}
}
