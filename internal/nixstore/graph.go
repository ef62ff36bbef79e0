package nixstore

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/varve-image/varve/image/ordjson"
)

// errNotValid says that the store does not have a path that Nix was asked about.
var errNotValid = errors.New("it is not valid in the store: build or fetch it first")

// maxGraph limits a reference graph in JSON, in bytes: 50,000 paths and more.
const maxGraph = 64 << 20

// ReadGraph reads the closure that Nix's exportReferencesGraph writes as JSON:
// a list of objects with the keys path and references, and perhaps narHash,
// narSize (bytes), deriver, registrationTime, ultimate, signatures and ca; or
// an object, in which every list of such objects counts. The lists are joined
// in order; a path that stands in several must be the same in each. All other
// keys are ignored. An object whose keys are all absolute paths has one such
// object for each path; null, or "valid": false in older versions, says that Nix
// does not have the path, which is an error. An object with
// version 2 and info has that object of paths in info, by the paths' last
// components, and hashes may be objects.
//
// Source: "exportReferencesGraph" in the Nix manual; with structured
// attributes the object is the whole of .attrs.json. "nix path-info --json"
// writes the list, and since version 2.19 the object of paths; since 2.33 it
// writes the other one if told --json-format 2: "Store object info" in the
// manual.
func ReadGraph(storeDir string, r io.Reader) ([]PathInfo, error) {
	c, err := newClosure(storeDir)
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(newLimitedReader(r, maxGraph))
	if err != nil {
		return nil, fmt.Errorf("read reference graph: %w", err)
	}
	value, err := ordjson.Parse(data)
	if err != nil {
		return nil, fmt.Errorf("read reference graph: %w", err)
	}
	switch v := value.(type) {
	case []any:
		c.addList("", v, c.add)
	case *ordjson.Object:
		switch info, ok := infoOf(v); {
		case ok:
			err = c.addVersion(v, info)
		case isPathMap(v):
			c.addMap(v)
		default:
			err = c.addLists(v)
		}
	default:
		err = errors.New("want a list, or an object that holds lists")
	}
	if err != nil {
		return nil, fmt.Errorf("read reference graph: %w", err)
	}
	nodes, err := c.finish()
	if err != nil {
		return nil, fmt.Errorf("read reference graph: %w", err)
	}
	return nodes, nil
}

// isPathMap distinguishes an object of paths from one with lists.
func isPathMap(o *ordjson.Object) bool {
	return len(o.Members) > 0 && !slices.ContainsFunc(o.Members, func(m ordjson.Member) bool { return !strings.HasPrefix(m.Key, "/") })
}

// addMap adds the nodes of an object of paths.
func (c *closure) addMap(o *ordjson.Object) {
	for _, m := range o.Members {
		if m.Value == nil {
			c.problems.Addf("path %.300q: %w", m.Key, errNotValid)
			continue
		}
		info, err := c.graphInfo(m.Key, m.Value)
		if err != nil {
			c.problems.Addf("path %.300q: %w", m.Key, err)
			continue
		}
		c.add(fmt.Sprintf("%.300q", m.Key), info)
	}
}

// addLists adds the lists of o that are reference graphs. An empty list may be
// one: the graph of no paths.
func (c *closure) addLists(o *ordjson.Object) error {
	found := false
	for _, m := range o.Members {
		list, ok := m.Value.([]any)
		if !ok || len(list) > 0 && !slices.ContainsFunc(list, isGraphNode) {
			continue
		}
		found = true
		known := len(c.nodes)
		c.addList(m.Key, list, func(where string, node PathInfo) {
			if i, ok := c.index[node.Path]; ok && i < known {
				c.checkSame(where, c.nodes[i], node)
				return
			}
			c.add(where, node)
		})
	}
	if !found {
		return errors.New("the object holds no list of objects with path and references; give what exportReferencesGraph wrote")
	}
	return nil
}

func isGraphNode(value any) bool {
	o, ok := value.(*ordjson.Object)
	if !ok {
		return false
	}
	_, hasPath := o.Get("path")
	_, hasReferences := o.Get("references")
	return hasPath && hasReferences
}

// addList passes each node of a list, which is called key, to add.
func (c *closure) addList(key string, list []any, add func(where string, node PathInfo)) {
	for i, value := range list {
		where := "entry " + strconv.Itoa(i)
		if key != "" {
			where = fmt.Sprintf("%.300q, %s", key, where)
		}
		node, err := c.graphNode(value)
		if err != nil {
			c.problems.Addf("%s: %w", where, err)
			continue
		}
		add(where, node)
	}
}

// graphNode reads one object of a graph.
func (c *closure) graphNode(value any) (PathInfo, error) {
	o, ok := value.(*ordjson.Object)
	if !ok {
		return PathInfo{}, errors.New("want an object with path and references")
	}
	v, _ := o.Get("path")
	p, ok := v.(string)
	if !ok {
		return PathInfo{}, errors.New("path: want a string")
	}
	node, err := c.graphInfo(p, o)
	if err != nil {
		return node, fmt.Errorf("path %.300q: %w", p, err)
	}
	return node, nil
}

// graphInfo reads what an object says about a path.
func (c *closure) graphInfo(path string, value any) (PathInfo, error) {
	node := PathInfo{Path: c.name(path)}
	o, ok := value.(*ordjson.Object)
	if !ok {
		return node, errors.New("want an object with references")
	}
	if valid, _ := o.Get("valid"); valid == false {
		return node, errNotValid
	}
	v, _ := o.Get("references")
	refs, ok := v.([]any)
	if !ok {
		return node, errors.New("references: want a list of strings")
	}
	node.References = make([]string, len(refs))
	for i, v := range refs {
		ref, ok := v.(string)
		if !ok {
			return node, fmt.Errorf("reference %d: want a string", i)
		}
		node.References[i] = c.name(ref)
	}
	return node, node.setRecord(o)
}

// setRecord fills in what o says about the path besides its references.
func (p *PathInfo) setRecord(o *ordjson.Object) error {
	var err error
	if v, ok := o.Get("narSize"); ok {
		number, _ := v.(json.Number)
		if p.NarSize, err = parseSize(number.String()); err != nil {
			return fmt.Errorf("narSize: %w", err)
		}
	}
	if v, ok := o.Get("registrationTime"); ok && v != nil {
		number, _ := v.(json.Number)
		seconds, err := parseSize(number.String())
		if err != nil {
			return fmt.Errorf("registrationTime: %w", err)
		}
		p.RegistrationTime = int64(seconds)
	}
	hash, err := o.String("narHash")
	if err != nil {
		return err
	}
	if hash != "" {
		if p.NarHash, err = ParseHash(hash); err != nil {
			return fmt.Errorf("narHash: %w", err)
		}
	}
	if p.Deriver, err = o.String("deriver"); err != nil {
		return err
	}
	if p.CA, err = o.String("ca"); err != nil {
		return err
	}
	if p.Sigs, err = o.Strings("signatures"); err != nil {
		return err
	}
	if v, ok := o.Get("ultimate"); ok && v != nil {
		if p.Ultimate, ok = v.(bool); !ok {
			return errors.New("ultimate: want true or false")
		}
	}
	return nil
}

// checkSame reports a path that two lists describe differently.
func (c *closure) checkSame(where string, a, b PathInfo) {
	if a.NarHash != b.NarHash && a.NarHash != "" && b.NarHash != "" {
		c.problems.Addf("%s: path %.300q: its narHash is %q, but %q in an earlier list", where, b.Path, b.NarHash, a.NarHash)
	}
	if a.NarSize != b.NarSize {
		c.problems.Addf("%s: path %.300q: its narSize is %d, but %d in an earlier list", where, b.Path, b.NarSize, a.NarSize)
	}
	if !slices.Equal(sortedSet(a.References), sortedSet(b.References)) {
		c.problems.Addf("%s: path %.300q: its references differ from those in an earlier list", where, b.Path)
	}
}

func sortedSet(list []string) []string {
	return slices.Compact(slices.Sorted(slices.Values(list)))
}

// parseSize reads a size in bytes. Nix holds sizes in 63 bits.
func parseSize(s string) (uint64, error) {
	size, err := strconv.ParseUint(s, 10, 63)
	if err != nil {
		return 0, fmt.Errorf("want a whole number from 0 to 2^63-1, got %.40q", s)
	}
	return size, nil
}
