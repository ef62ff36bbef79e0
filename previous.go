package varve

import (
	"context"
	"errors"

	"github.com/varve-image/varve/internal/assemble"
	"github.com/varve-image/varve/internal/base"
	"github.com/varve-image/varve/spec"
)

// openPlan returns what reads the plan of a spec.
func (o *Options) openPlan(bases *base.Resolver) assemble.OpenPlanFunc {
	return func(ctx context.Context, ref spec.Base) ([][]string, error) {
		if ref.Reference == spec.PreviousAuto {
			return nil, errors.New("auto is the image that is replaced, which Build does not know: name it")
		}
		plan, err := bases.Plan(ctx, ref, o.Lock)
		if err != nil {
			return nil, err
		}
		return plan.Layers, nil
	}
}
