package uplink

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/weft-mesh/weft/internal/backoff"
)

func connect(address string) (*grpc.ClientConn, error) {
	return grpc.NewClient("passthrough:///"+address, grpc.WithTransportCredentials(insecure.NewCredentials()))
}

func TestLinkGoesFromReplicaToReplicaAndLogsChangesOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		core, logs := observer.New(zap.DebugLevel)
		link, err := New(Config{Service: "distributor", Addresses: []string{"a", "b"}, Connect: connect}, zap.New(core))
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		var visited []string
		begin := time.Now()
		err = link.Run(ctx, func(_ context.Context, conn *grpc.ClientConn, good func()) error {
			visited = append(visited, conn.Target())
			switch len(visited) {
			case 10:
				good()
				good()
				return errors.New("lost")
			case 20:
				cancel()
			}
			return errors.New("refused")
		})
		if err != nil {
			t.Fatalf("Run: %v", err)
		}
		for i := 1; i < len(visited); i++ {
			if visited[i] == visited[i-1] {
				t.Errorf("session %d went to %s again", i, visited[i])
			}
		}
		if waited := time.Since(begin); waited > 20*lastDelay {
			t.Errorf("20 sessions took %v", waited)
		}
		var messages []string
		for _, e := range logs.All() {
			messages = append(messages, e.Message)
		}
		// One loss at the beginning, the connection, its loss; nothing for the attempts in between.
		if len(messages) != 3 {
			t.Errorf("log: %q", messages)
		}
	})
}

// TestShortSessionsSlowDown: a replica that accepts every session and ends it soon is not asked at full speed for ever; one
// session that lasted makes the next one quick again.
func TestShortSessionsSlowDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		link, err := New(Config{Service: "discovery", Addresses: []string{"a"}, Connect: connect}, zap.NewNop())
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		var begun []time.Time
		_ = link.Run(ctx, func(_ context.Context, _ *grpc.ClientConn, good func()) error {
			begun = append(begun, time.Now())
			good()
			switch len(begun) {
			case 20:
				_ = backoff.Sleep(ctx, lastDelay)
			case 21:
				cancel()
			}
			return errors.New("replaced")
		})
		if waited := begun[19].Sub(begun[9]); waited < 15*firstDelay { // jitter is full: about 15 s, and at most 1 s if nothing slowed them down
			t.Errorf("ten short sessions within %v", waited)
		}
		if waited := begun[20].Sub(begun[19]) - lastDelay; waited > firstDelay {
			t.Errorf("%v until the session after one that lasted", waited)
		}
	})
}

func TestMoveGoesToTheNextReplicaAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		link, err := New(Config{Service: "distributor", Addresses: []string{"a", "b"}, Connect: connect}, zap.NewNop())
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		begin, n := time.Now(), 0
		_ = link.Run(ctx, func(context.Context, *grpc.ClientConn, func()) error {
			if n++; n == 5 {
				cancel()
			}
			return ErrMove
		})
		if waited := time.Since(begin); waited != 0 {
			t.Errorf("waited %v", waited)
		}
	})
}

func TestLinkWaitsUntilItIsReadyAndNeedsAnAddress(t *testing.T) {
	if _, err := New(Config{Service: "discovery"}, zap.NewNop()); err == nil {
		t.Error("a link without addresses was made")
	}
	link, err := New(Config{Service: "discovery", Addresses: []string{"a"}, Connect: connect, Ready: func(ctx context.Context) error {
		return context.Canceled
	}}, zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	err = link.Run(t.Context(), func(context.Context, *grpc.ClientConn, func()) error {
		t.Error("a session began without an identity")
		return nil
	})
	if err != nil {
		t.Errorf("Run: %v", err)
	}
}
