package discovery

import (
	"context"
	"path/filepath"

	"github.com/fsnotify/fsnotify"
	"go.uber.org/zap"

	discoverypb "github.com/weft-mesh/weft/gen/weft/discovery/v1alpha1"
	"github.com/weft-mesh/weft/services/internal/fault"
	"github.com/weft-mesh/weft/services/internal/manifest"
	"github.com/weft-mesh/weft/services/internal/model"
	"github.com/weft-mesh/weft/services/internal/modelpb"
	"github.com/weft-mesh/weft/services/internal/resource"
)

// file is what a static file says.
type file struct {
	services  []model.Service
	workloads []model.Workload
	// present is every object that the file names, the broken ones too: their last good version stays.
	present map[objectID]bool
	// complete says that nothing in the file is so broken that it could be the object that seems to be missing.
	complete bool
	problems []string
}

// parseFile understands as much of a file as it can: one bad object does not stand in the way of others.
func parseFile(data []byte) file {
	f := file{present: map[objectID]bool{}, complete: true}
	for _, p := range manifest.ParseEach(data) {
		id := objectID{p.Kind, p.Key}
		known := p.Kind == model.KindService || p.Kind == model.KindWorkload
		f.complete = f.complete && (p.Err == nil || known && p.Key.Name != "")
		err := p.Err
		switch {
		case err != nil:
		case f.present[id]:
			f.problems = append(f.problems, p.Kind+" "+p.Key.String()+" is there twice; the first one holds")
			continue
		default:
			err = f.take(p.Object)
		}
		f.present[id] = true
		f.problems = add(f.problems, err)
	}
	return f
}

func (f *file) take(o manifest.Object) error {
	switch p := o.(type) {
	case *discoverypb.Service:
		s, err := modelpb.ServiceFromProto(p)
		if err == nil {
			err = resource.Check(model.KindService, s.Key, s.Validate())
		}
		if err == nil {
			f.services = append(f.services, s)
		}
		return err
	case *discoverypb.Workload:
		w, err := modelpb.WorkloadFromProto(p)
		if err == nil {
			err = resource.Check(model.KindWorkload, w.Key, w.Validate())
		}
		if err == nil {
			f.workloads = append(f.workloads, w)
		}
		return err
	default:
		return fault.New(fault.Invalid, "%s %q does not belong here: a static file holds services and workloads only", manifest.KindOf(o), o.GetMetadata().GetName())
	}
}

// watchFiles tells when a file may have changed. It watches the folders: editors and Kubernetes replace files instead of
// writing them. When watching is impossible the timer has to do.
func watchFiles(ctx context.Context, files []string, log *zap.Logger) <-chan struct{} {
	out := make(chan struct{}, 1)
	w, err := fsnotify.NewWatcher()
	if err != nil {
		log.Warn("static files cannot be watched, reading them by the clock only", zap.Error(err))
		return out
	}
	for _, f := range files {
		if err := w.Add(filepath.Dir(f)); err != nil {
			log.Warn("folder of a static file cannot be watched, reading it by the clock only", zap.String("file", f), zap.Error(err))
		}
	}
	go func() {
		defer func() {
			if err := w.Close(); err != nil {
				log.Warn("watch of static files does not close", zap.Error(err))
			}
		}()
		for {
			select {
			case <-ctx.Done():
				return
			case <-w.Errors: //nolint:errcheck // a lost event is made good by the clock
			case <-w.Events:
			}
			select {
			case out <- struct{}{}:
			default:
			}
		}
	}()
	return out
}
