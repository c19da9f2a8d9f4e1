package proxy

import (
	"context"
	"fmt"
	"net"
	"time"

	"go.uber.org/zap"

	discoverypb "github.com/weft-mesh/weft/gen/weft/discovery/v1alpha1"
	typepb "github.com/weft-mesh/weft/gen/weft/type/v1alpha1"
	"github.com/weft-mesh/weft/internal/backoff"
)

// leaveTimeout bounds the deregistration of a sidecar that stops; the lease is there for the rest.
const leaveTimeout = 2 * time.Second

// workload is what discovery is told.
func (s *sidecar) workload() (*discoverypb.Workload, error) {
	mesh, ok := s.listeners.mesh.Addr().(*net.TCPAddr)
	if !ok {
		return nil, fmt.Errorf("mesh listener has address %q, which is not TCP", s.listeners.mesh.Addr())
	}
	protocol, err := parseProtocol(s.cfg.Protocol)
	if err != nil {
		return nil, err
	}
	w := &discoverypb.Workload{
		Metadata: &typepb.ObjectMeta{Namespace: s.cfg.Namespace, Name: s.cfg.Workload},
		Spec: &discoverypb.WorkloadSpec{
			Services: s.cfg.Services, Labels: s.cfg.Labels, Address: s.cfg.Advertise, MeshPort: uint32(mesh.Port),
		},
		Status: &discoverypb.WorkloadStatus{AdminAddress: s.listeners.admin.Addr().String()},
	}
	if s.cfg.AppPort != 0 {
		w.Spec.Ports = []*discoverypb.WorkloadPort{{Port: uint32(s.cfg.AppPort), Protocol: protocol}}
	}
	if s.cfg.streams() && s.cfg.datagrams() {
		w.Spec.Ports = append(w.Spec.Ports, &discoverypb.WorkloadPort{Port: uint32(s.cfg.AppPort), Protocol: typepb.Protocol_PROTOCOL_UDP})
	}
	return w, nil
}

// registration keeps the workload registered until ctx ends. Then it takes it out first, over the stream's own connection, and
// serves on for a moment: callers that have not heard yet still find it. At the end of the tenure it only lets go.
func (s *sidecar) registration(ctx context.Context) error {
	inner, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- s.registrar.Run(inner) }()
	select {
	case <-ctx.Done():
	case err := <-done:
		return err
	}
	if s.tenure.Ended() {
		cancel()
		return <-done // the next process has the registration
	}
	wasThere := s.registrar.Status().Registered && len(s.cfg.Services) > 0
	limit, stop := context.WithTimeout(inner, leaveTimeout)
	defer stop()
	if _, err := s.registrar.Deregister(limit); err != nil {
		s.log.Warn("workload could not be deregistered", zap.Error(err))
	}
	cancel()
	err := <-done
	if wasThere {
		_ = backoff.Sleep(context.WithoutCancel(ctx), s.cfg.Linger) // nothing can cut it short
	}
	return err
}
