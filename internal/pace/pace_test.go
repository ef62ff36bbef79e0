package pace

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestPace(t *testing.T) {
	for name, tt := range map[string]struct {
		bytes       int // of each wait
		wait, pause time.Duration
		ends        time.Duration // of waiting; 0 means never
	}{
		"drip":          {1, time.Second, 0, 10 * time.Second},
		"long waits":    {1, 7 * time.Second, 0, 14 * time.Second},
		"just too slow": {99, time.Second, 0, 10 * time.Second},
		"fast enough":   {100, time.Second, 0, 0},
		"slow reader":   {100, time.Second, time.Hour, 0},
		"in lumps":      {1000, 9 * time.Second, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := New(100, 10*time.Second)
				var err error
				waited := time.Duration(0)
				for ; err == nil && waited < time.Minute; waited += tt.wait {
					p.Wait()
					time.Sleep(tt.wait)
					err = p.Got(tt.bytes)
					time.Sleep(tt.pause)
				}
				if (err != nil) != (tt.ends != 0) || err != nil && waited != tt.ends {
					t.Errorf("%v after %v, want an end after %v", err, waited, tt.ends)
				}
			})
		})
	}
}
