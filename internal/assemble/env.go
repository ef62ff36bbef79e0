package assemble

import (
	"fmt"
	"strings"

	"github.com/varve-image/varve/image/ordjson"
	"github.com/varve-image/varve/spec"
)

// expandEnv replaces variables in the Env of a spec that has args by those of the base, and by what
// stands before in Env, as Dockerfile's ENV does.
func (b *builder) expandEnv(base *base) error {
	own, err := b.spec.Config.Strings("Env")
	if b.spec.Args == nil || err != nil || len(own) == 0 {
		return err
	}
	var inherited []string
	if base != nil {
		config, err := base.image.Run()
		if err == nil {
			inherited, err = config.Strings("Env")
		}
		if err != nil {
			return fmt.Errorf("fromImage: its config: %w", err)
		}
	}
	env, err := expandedEnv(inherited, own)
	if err != nil {
		return err
	}
	s := *b.spec
	s.Config = &ordjson.Object{Members: append([]ordjson.Member{}, s.Config.Members...)}
	s.Config.Set("Env", env)
	b.spec = &s
	return nil
}

func expandedEnv(inherited, own []string) ([]any, error) {
	values := map[string]string{}
	for _, entry := range inherited {
		name, value, _ := strings.Cut(entry, "=")
		values[name] = value
	}
	lookup := func(name string) (string, bool) {
		value, ok := values[name]
		return value, ok
	}
	var env []any
	for i, entry := range own {
		expanded, err := spec.ExpandEnv(entry, lookup)
		if err != nil {
			return nil, specError(fmt.Sprintf("config.Env[%d]", i), err)
		}
		name, value, _ := strings.Cut(expanded, "=")
		values[name] = value
		env = append(env, expanded)
	}
	return env, nil
}
