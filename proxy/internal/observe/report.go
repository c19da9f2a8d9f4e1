package observe

import (
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/timestamppb"

	telemetrypb "github.com/weft-mesh/weft/gen/weft/telemetry/v1alpha1"
	"github.com/weft-mesh/weft/proxy/internal/uplink"
)

// Rhythm of reports: every beat while something changes, every tenth otherwise. A report that is not answered in time ends the
// session; the next one, with another replica, begins with everything.
const (
	beat        = time.Second
	idleBeats   = 10
	reportLimit = 10 * time.Second
	lastLimit   = time.Second
)

// Reporter tells the telemetry service what a recorder has counted.
type Reporter struct {
	recorder *Recorder
	link     *uplink.Link
}

// NewReporter makes a reporter.
func NewReporter(r *Recorder, link *uplink.Link) *Reporter {
	return &Reporter{recorder: r, link: link}
}

// Link tells of the connection to telemetry.
func (p *Reporter) Link() uplink.Status { return p.link.Status() }

// Run reports until ctx ends, and then once more.
func (p *Reporter) Run(ctx context.Context) error {
	return p.link.Run(ctx, p.session)
}

func (p *Reporter) session(ctx context.Context, conn *grpc.ClientConn, good func()) error {
	alive, cancel := context.WithCancel(context.WithoutCancel(ctx)) // outlives ctx for the last report
	defer cancel()
	st, err := telemetrypb.NewTelemetryServiceClient(conn).Report(alive)
	if err != nil {
		return fmt.Errorf("open report stream: %w", err)
	}
	s := &reports{recorder: p.recorder, stream: st, cancel: cancel, answered: map[*edge]uint64{}}
	tick := time.NewTicker(beat)
	defer tick.Stop()
	if err := s.report(ctx, reportLimit, true); err != nil {
		return err
	}
	good()
	for beats := 1; ; beats++ {
		select {
		case <-tick.C:
			err = s.report(ctx, reportLimit, beats%idleBeats == 0)
		case <-ctx.Done():
			// What is lost here is what happened in the last second of this process.
			return s.report(alive, lastLimit, false)
		}
		if err != nil {
			return err
		}
	}
}

// reports is one stream; it belongs to one goroutine.
type reports struct {
	recorder *Recorder
	stream   telemetrypb.TelemetryService_ReportClient
	cancel   context.CancelFunc
	answered map[*edge]uint64 // changes of each edge that the server has seen on this stream
}

// report sends what has changed, or nothing when nothing has and it is not due anyway, and waits for the answer.
func (s *reports) report(ctx context.Context, limit time.Duration, due bool) error {
	r := s.recorder
	request := &telemetrypb.ReportRequest{Sidecar: r.workload(), StartTime: timestamppb.New(r.start)}
	seen := map[*edge]uint64{}
	own := r.account()
	for _, e := range r.all() {
		if e.changes.Load() == s.answered[e] {
			continue
		}
		pb, changes := r.counters(e, own)
		request.Edges = append(request.Edges, pb)
		seen[e] = changes
	}
	if len(request.Edges) == 0 && !due {
		return nil
	}
	// The stream has no deadline for one answer; ending it is the only way not to wait for ever.
	timer := time.AfterFunc(limit, s.cancel)
	defer timer.Stop()
	stop := context.AfterFunc(ctx, func() { timer.Reset(lastLimit) })
	defer stop()
	if err := s.stream.Send(request); err != nil {
		_, err = s.stream.Recv() // says why
		return fmt.Errorf("report: %w", err)
	}
	if _, err := s.stream.Recv(); err != nil {
		return errors.Join(fmt.Errorf("report: %w", err), ctx.Err())
	}
	for e, changes := range seen {
		s.answered[e] = changes
	}
	return nil
}
