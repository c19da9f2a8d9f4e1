package resource

import (
	"context"

	typepb "github.com/weft-mesh/weft/gen/weft/type/v1alpha1"
	"github.com/weft-mesh/weft/services/internal/model"
	"github.com/weft-mesh/weft/services/internal/modelpb"
	"github.com/weft-mesh/weft/services/internal/state"
)

// Watch sends a watcher what he lacks and then what happens, until his context ends or a send fails.
func Watch(ctx context.Context, feed *state.Feed, resumeFrom *typepb.SourceRevision, send func(state.Step) error) error {
	after, err := modelpb.RevisionFromProto(resumeFrom)
	if err != nil {
		return err
	}
	for step := range feed.Subscribe(ctx, after) {
		if err := send(step); err != nil {
			return err
		}
	}
	return context.Cause(ctx)
}

// Removed names an object that is gone.
func Removed(c state.Change) *typepb.ObjectRef {
	return modelpb.RefToProto(model.Ref{Kind: c.Kind, Key: c.Key})
}
