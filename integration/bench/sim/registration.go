package sim

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	discoverypb "github.com/weft-mesh/weft/gen/weft/discovery/v1alpha1"
	typepb "github.com/weft-mesh/weft/gen/weft/type/v1alpha1"
	"github.com/weft-mesh/weft/internal/backoff"
)

// answer is discovery's answer to one message.
type answer struct {
	revision *typepb.SourceRevision
	err      error
	at       time.Time
}

// keepRegistered registers until ctx ends, again whenever the stream breaks.
func (s *sidecar) keepRegistered(ctx context.Context) {
	wait := backoff.New(firstDelay, lastDelay)
	for ctx.Err() == nil {
		began := time.Now()
		err := s.registration(ctx)
		if ctx.Err() != nil {
			return
		}
		s.fleet.unregistered(err)
		if time.Since(began) >= lastDelay {
			wait.Reset()
		}
		if wait.Wait(ctx) != nil {
			return
		}
	}
}

// registration is one Register stream: it registers, and sends heartbeats until it breaks.
func (s *sidecar) registration(ctx context.Context) error {
	conn, err := dial(s.source, "discovery", s.fleet.discovery())
	if err != nil {
		return err
	}
	defer conn.Close()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := discoverypb.NewDiscoveryServiceClient(conn).Register(ctx)
	if err != nil {
		return fmt.Errorf("open register stream: %w", err)
	}
	_ = stream.Send(s.workload("0")) // Recv says why when it fails
	first, err := stream.Recv()
	if err != nil {
		return fmt.Errorf("register: %w", err)
	}
	answers := make(chan answer, 1)
	s.mu.Lock()
	s.register, s.answers = stream, answers
	s.mu.Unlock()
	s.fleet.registered.Add(1)
	defer s.fleet.registered.Add(-1)
	ended := make(chan error, 1)
	go func() { ended <- receive(stream, answers) }()
	every := first.GetHeartbeatInterval().AsDuration()
	if backoff.Sleep(ctx, rand.N(every)) != nil { // those that registered together do not stay together
		return ctx.Err()
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			s.mu.Lock()
			_ = stream.Send(&discoverypb.RegisterRequest{Request: &discoverypb.RegisterRequest_Heartbeat{Heartbeat: &discoverypb.Heartbeat{}}})
			s.mu.Unlock()
			s.fleet.heartbeats.Add(1)
		case err := <-ended:
			return err
		}
	}
}

// receive hands on answers until the stream ends.
func receive(stream discoverypb.DiscoveryService_RegisterClient, answers chan<- answer) error {
	for {
		m, err := stream.Recv()
		answers <- answer{m.GetRevision(), err, time.Now()}
		if err != nil {
			return fmt.Errorf("register stream: %w", err)
		}
	}
}

// relabel changes the workload, so that the endpoints of its service change, and returns discovery's answer: the change's
// commit. Only one may be under way for each sidecar.
func (s *sidecar) relabel(build string) answer {
	s.mu.Lock()
	stream, answers := s.register, s.answers
	if stream == nil {
		s.mu.Unlock()
		return answer{err: errors.New("not registered")}
	}
	err := stream.Send(s.workload(build))
	s.mu.Unlock()
	if err != nil {
		return answer{err: err}
	}
	return <-answers
}

func (s *sidecar) workload(build string) *discoverypb.RegisterRequest {
	return &discoverypb.RegisterRequest{Request: &discoverypb.RegisterRequest_Workload{Workload: &discoverypb.Workload{
		Metadata: &typepb.ObjectMeta{Namespace: Namespace, Name: s.Name},
		Spec: &discoverypb.WorkloadSpec{
			Account: s.Account, Services: []string{s.Account}, Labels: map[string]string{"version": "v1", "build": build},
			Address: s.Address, MeshPort: 15008,
			Ports: []*discoverypb.WorkloadPort{{ServicePort: 80, Port: 8080, Protocol: typepb.Protocol_PROTOCOL_HTTP}},
		},
	}}}
}
