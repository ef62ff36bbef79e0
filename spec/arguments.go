package spec

import "cmp"

// Argument gives one of a spec's args a value.
type Argument struct {
	Name, Value string
	// Flag names it in messages, such as "--set"; args.NAME if empty.
	Flag string
}

// node returns a node that names the argument in messages.
func (a Argument) node() *node {
	return &node{kind: text, text: a.Value, flag: cmp.Or(a.Flag, joinField("args", a.Name))}
}
