package distributor

import (
	"context"
	"slices"
	"sync"

	"go.uber.org/zap"

	configpb "github.com/weft-mesh/weft/gen/weft/config/v1alpha1"
	"github.com/weft-mesh/weft/services/internal/rpc"
)

// ask puts one question to all other replicas at once, and names those that did not answer.
func ask[T any](ctx context.Context, s *Service, question func(context.Context, configpb.ConvergenceServiceClient) (T, error)) (answers []T, unreachable []string) {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.PeerTimeout)
	defer cancel()
	var mu sync.Mutex
	var wg sync.WaitGroup
	for _, peer := range s.deps.Peers.List() {
		wg.Go(func() {
			answer, err := askOne(ctx, s, peer, question)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				s.deps.Log.Debug("peer did not answer", zap.String("replica", peer.Replica), zap.Error(err))
				unreachable = append(unreachable, peer.Replica)
				return
			}
			answers = append(answers, answer)
		})
	}
	wg.Wait()
	slices.Sort(unreachable)
	return answers, unreachable
}

func askOne[T any](ctx context.Context, s *Service, peer rpc.Peer, question func(context.Context, configpb.ConvergenceServiceClient) (T, error)) (T, error) {
	conn, err := s.deps.Peers.Dial(peer)
	if err != nil {
		var none T
		return none, err
	}
	return question(ctx, configpb.NewConvergenceServiceClient(conn))
}
