package cachedir

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/varve-image/varve/image/ordjson"
	"github.com/varve-image/varve/internal/base/cache"
	"github.com/varve-image/varve/internal/human"
)

// Text lists a cache for people: a line for each image, and for each kind of what was computed.
func (l *Listing) Text() string {
	var out strings.Builder
	out.WriteString(cache.Text(l.Images))
	for _, k := range l.Kinds {
		fmt.Fprintf(&out, "%s  %d  %s", k.Name, k.Count, human.Size(k.Size))
		if !k.Used.IsZero() {
			fmt.Fprintf(&out, "  used %s", k.Used.UTC().Format(time.DateOnly))
		}
		out.WriteByte('\n')
	}
	return out.String()
}

// JSON lists a cache for programs: a list with an object for each image, and for each kind.
func (l *Listing) JSON() ([]byte, error) {
	list := cache.Objects(l.Images)
	for _, k := range l.Kinds {
		o := &ordjson.Object{Members: []ordjson.Member{
			{Key: "kind", Value: k.Name},
			{Key: "count", Value: json.Number(strconv.Itoa(k.Count))},
			{Key: "size", Value: json.Number(strconv.FormatInt(k.Size, 10))},
		}}
		if !k.Used.IsZero() {
			o.Set("used", k.Used.UTC().Format(time.RFC3339))
		}
		list = append(list, o)
	}
	return ordjson.Marshal(list)
}
