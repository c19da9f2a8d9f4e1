package intake

import (
	"context"
	"fmt"

	"go.uber.org/zap"

	"github.com/weft-mesh/weft/internal/backoff"
	"github.com/weft-mesh/weft/services/internal/model"
)

// step is what one message of a Watch says, in the model's terms.
type step struct {
	reset    bool
	changes  []change
	complete bool
	revision model.Revision
}

// change is one object that appeared, changed or went.
type change struct {
	kind string
	key  model.Key
	// object is a pointer to the model's type; nil when the object is gone. With err it is what could be read of it.
	object any
	// err says why the object could not be read.
	err error
}

// receive reads the next step of an open Watch.
type receive func() (step, error)

// open starts a Watch after a revision; the zero revision means from nothing.
type open func(ctx context.Context, after model.Revision) (receive, error)

// patience is how many attempts in a row may fail before people are told: services of one process start in any order, and a
// replica that leaves is not a loss.
const patience = 4

// source follows one Watch for ever.
type source struct {
	id   model.Source
	name string
	open open
	// whole says that every step holds everything, so that a reset is nothing special.
	whole  bool
	intake *Intake
}

func (s *source) run(ctx context.Context) error {
	pause := backoff.New(s.intake.cfg.Retry, s.intake.cfg.RetryLimit)
	log := s.intake.deps.Log.With(zap.String("source", s.name))
	failures, told := 0, false
	for {
		err := s.follow(ctx, func() {
			pause.Reset()
			s.intake.deps.Observer.SourceConnected(s.name, true)
			if told {
				log.Info("source is back")
			}
			failures, told = 0, false
		})
		s.intake.deps.Observer.SourceConnected(s.name, false)
		if ctx.Err() != nil {
			return nil
		}
		if failures++; failures == patience {
			log.Warn("source is lost, its last known state stays", zap.Error(err))
			told = true
		}
		if pause.Wait(ctx) != nil {
			return nil
		}
	}
}

// follow reads one stream until it ends, and calls good after every step forward.
func (s *source) follow(ctx context.Context, good func()) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	after := s.intake.world.revision(s.id)
	next, err := s.open(ctx, after)
	if err != nil {
		return fmt.Errorf("watch %s: %w", s.name, err)
	}
	var pending step
	for {
		got, err := next()
		if err != nil {
			return fmt.Errorf("watch %s: %w", s.name, err)
		}
		if got.reset {
			pending = step{reset: true}
			if after.Epoch != "" && !s.whole {
				s.intake.deps.Observer.SourceReset(s.name)
			}
		}
		pending.changes = append(pending.changes, got.changes...)
		if !got.complete {
			continue
		}
		pending.revision = got.revision
		if err := s.commit(pending); err != nil {
			return err
		}
		after, pending = got.revision, step{}
		good()
	}
}

func (s *source) commit(st step) error {
	if st.revision.Source != s.id || st.revision.Epoch == "" {
		return fmt.Errorf("watch %s: complete state without a revision of %s", s.name, s.name)
	}
	seen := s.intake.world.revision(s.id)
	if seen.Epoch == st.revision.Epoch && st.revision.Seq < seen.Seq {
		return fmt.Errorf("watch %s: answered with %v after %v", s.name, st.revision, seen)
	}
	if seen.Epoch != "" && seen.Epoch != st.revision.Epoch && !st.reset {
		return fmt.Errorf("watch %s: another epoch without a reset", s.name)
	}
	for _, c := range st.changes {
		if c.err != nil {
			s.intake.deps.Observer.ObjectRejected(c.kind)
			s.intake.deps.Log.Error("object cannot be read, its last good state stays",
				zap.String("kind", c.kind), zap.Stringer("object", c.key), zap.Error(c.err))
		}
	}
	s.intake.world.commit(st)
	s.intake.committed()
	return nil
}
