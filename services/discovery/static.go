package discovery

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/weft-mesh/weft/services/internal/model"
	"github.com/weft-mesh/weft/services/internal/state"
)

// originStatic begins the origin of objects that a file keeps in step.
const originStatic = "static:"

// settle is how long the reconciler waits for more to happen before it looks: editors and watches come in bursts.
const settle = 100 * time.Millisecond

// static keeps the services and workloads of some files in the store as the files say: what is missing is added, what was
// altered or deleted is restored, what has gone from a file is removed. What people own is never touched.
type static struct {
	server *server
	files  []string
	// changes tells when a file may have changed; tests put their own here.
	changes func(ctx context.Context, files []string, log *zap.Logger) <-chan struct{}

	mu       sync.Mutex
	wanted   map[objectID]bool   // what the files hold
	reported map[string][]string // the problems of each file as logged last
}

// objectID is an object of a file.
type objectID struct {
	kind string
	model.Key
}

func newStatic(s *server) *static {
	st := &static{server: s, changes: watchFiles, wanted: map[objectID]bool{}, reported: map[string][]string{}}
	for _, f := range s.cfg.StaticFiles {
		if abs, err := filepath.Abs(f); err == nil {
			f = abs
		}
		st.files = append(st.files, f)
	}
	return st
}

// run reconciles when a file or one of its objects changes, and now and then, until ctx ends.
func (s *static) run(ctx context.Context) error {
	if len(s.files) == 0 {
		<-ctx.Done()
		return nil
	}
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	altered := make(chan struct{}, 1)
	wg.Go(func() { s.follow(ctx, altered) })
	files := s.changes(ctx, s.files, s.server.deps.Log)
	next := time.NewTimer(0)
	defer next.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-altered:
			next.Reset(settle)
		case <-files:
			next.Reset(settle)
		case <-next.C:
			s.reconcileAll(ctx)
			next.Reset(s.server.cfg.Reread)
		}
	}
}

// follow tells when an object of a file has changed in the store.
func (s *static) follow(ctx context.Context, altered chan<- struct{}) {
	for step := range s.server.feed.Subscribe(ctx, model.Revision{}) {
		for _, c := range step.Changes {
			if !s.wants(objectID{c.Kind, c.Key}) {
				continue
			}
			select {
			case altered <- struct{}{}:
			default: // it has been told already
			}
		}
	}
}

func (s *static) wants(id objectID) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.wanted[id]
}

// leads says whether this replica is the one that writes: the one with the first name. Two at once would do no harm while
// their files are equal, but fight when they are not.
func (s *static) leads() bool {
	for _, peer := range s.server.deps.Peers() {
		if peer < s.server.deps.Replica {
			return false
		}
	}
	return true
}

func (s *static) reconcileAll(ctx context.Context) {
	if !s.leads() {
		return
	}
	wanted := map[objectID]bool{}
	for _, path := range s.files {
		s.report(path, s.reconcile(ctx, path, wanted))
	}
	s.mu.Lock()
	s.wanted = wanted
	s.mu.Unlock()
}

// reconcile makes the store agree with one file, as far as the file can be understood, and returns what stood in the way.
func (s *static) reconcile(ctx context.Context, path string, wanted map[objectID]bool) []string {
	data, err := os.ReadFile(path)
	if err != nil {
		return []string{fmt.Sprintf("file cannot be read, keeping what it last said: %v", err)}
	}
	f := parseFile(data)
	for id := range f.present {
		wanted[id] = true
	}
	problems := f.problems
	origin := originStatic + path
	for _, service := range f.services {
		problems = add(problems, s.keepService(ctx, service, origin))
	}
	for _, workload := range f.workloads {
		problems = add(problems, s.keepWorkload(ctx, workload, origin))
	}
	if f.complete {
		problems = add(problems, prune(ctx, s.server.services.Collection(), model.KindService, origin, f.present, s.removeService))
		problems = add(problems, prune(ctx, s.server.workloads.Collection(), model.KindWorkload, origin, f.present, s.removeWorkload))
	}
	return problems
}

func add(problems []string, err error) []string {
	if err == nil {
		return problems
	}
	return append(problems, err.Error())
}

// prune removes what a file once held and holds no more.
func prune[T any](ctx context.Context, c *state.Collection[T], kind, origin string, present map[objectID]bool, remove func(context.Context, model.Meta) error) error {
	all, _, err := c.All(ctx, "")
	if err != nil {
		return err
	}
	for i := range all {
		meta := c.Meta(&all[i])
		if meta.Origin != origin || present[objectID{kind, meta.Key}] {
			continue
		}
		if err := remove(ctx, *meta); err != nil {
			return err
		}
	}
	return nil
}

// report shows the problems of a file, and logs them when they have changed.
func (s *static) report(path string, problems []string) {
	s.server.metrics.static.WithLabelValues(path).Set(float64(len(problems)))
	s.mu.Lock()
	before := s.reported[path]
	s.reported[path] = problems
	s.mu.Unlock()
	switch {
	case slices.Equal(before, problems):
	case len(problems) == 0:
		s.server.deps.Log.Info("static file is in force again", zap.String("file", path))
	default:
		s.server.deps.Log.Error("static file is not fully in force", zap.String("file", path), zap.Strings("problems", problems))
	}
}
