package subscribe

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"time"

	"google.golang.org/grpc"

	configpb "github.com/weft-mesh/weft/gen/weft/config/v1alpha1"
	"github.com/weft-mesh/weft/proxy/internal/uplink"
)

// silence is how long a replica may say nothing: more than twice the longest time between two digests.
const silence = 75 * time.Second

var (
	errDigest  = errors.New("this sidecar does not hold what the distributor believes")
	errSilence = errors.New("the distributor said nothing for too long")
	errEnded   = errors.New("the distributor ended the stream")
)

type stream = grpc.BidiStreamingClient[configpb.StreamRequest, configpb.StreamResponse]

// session is one stream: everything is sent by this goroutine, a second one only receives.
func (c *Client) session(ctx context.Context, conn *grpc.ClientConn, good func()) error {
	ctx, cancel := context.WithCancel(ctx)
	st, err := configpb.NewConfigServiceClient(conn).Stream(ctx)
	if err != nil {
		cancel()
		return fmt.Errorf("open config stream: %w", err)
	}
	in := make(chan received)
	done := make(chan struct{})
	go func() {
		defer close(done)
		receive(ctx, st, in)
	}()
	defer func() {
		cancel()
		<-done
	}()
	open, sent := c.open()
	defer func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.stats.current = false
		c.disconnected()
	}()
	if err := send(st, &configpb.StreamRequest{Request: &configpb.StreamRequest_Open{Open: open}}); err != nil {
		return c.failure(ctx, in, err)
	}
	s := &conversation{client: c, stream: st, sent: sent, expiry: open.GetSvidExpireSeconds(), good: good}
	return s.run(ctx, in)
}

// failure prefers the status that the server ended the stream with over the end-of-file that a send sees.
func (c *Client) failure(ctx context.Context, in <-chan received, sendErr error) error {
	for {
		select {
		case r := <-in:
			if r.err != nil {
				return ended(r.err)
			}
		case <-ctx.Done():
			return sendErr
		}
	}
}

type received struct {
	response *configpb.StreamResponse
	err      error
}

func receive(ctx context.Context, st stream, in chan<- received) {
	for {
		response, err := st.Recv()
		select {
		case in <- received{response, err}:
		case <-ctx.Done():
			return
		}
		if err != nil {
			return
		}
	}
}

func send(st stream, r *configpb.StreamRequest) error {
	if err := st.Send(r); err != nil {
		return fmt.Errorf("send on config stream: %w", err)
	}
	return nil
}

// conversation is the state of one open stream; it belongs to one goroutine.
type conversation struct {
	client *Client
	stream stream
	sent   wishes
	expiry int64 // last one told
	good   func()
}

func (s *conversation) run(ctx context.Context, in <-chan received) error {
	watchdog := time.NewTimer(silence)
	defer watchdog.Stop()
	var leave <-chan time.Time
	for {
		var err error
		select {
		case r := <-in:
			if r.err != nil {
				return ended(r.err)
			}
			watchdog.Reset(silence)
			if away := r.response.GetGoAway(); away != nil && leave == nil {
				timer := time.NewTimer(moment(away.GetWithin().AsDuration()))
				defer timer.Stop()
				leave = timer.C
			}
			if u := r.response.GetUpdate(); u != nil {
				err = s.update(u)
			}
		case <-s.client.wake:
			err = s.subscribe()
		case <-leave:
			return uplink.ErrMove
		case <-watchdog.C:
			return errSilence
		case <-ctx.Done():
			return nil
		}
		if errors.Is(err, io.EOF) {
			return s.client.failure(ctx, in, err)
		}
		if err != nil {
			return err
		}
	}
}

// update applies and answers; the digest is compared after the answer, so that what was applied counts as applied.
func (s *conversation) update(u *configpb.Update) error {
	nacks, err := s.client.apply(u)
	if err != nil {
		return err
	}
	ack := &configpb.Ack{Nonce: u.GetNonce(), Nacks: nacks}
	if now := expireSeconds(s.client.deps.Expiry()); now != s.expiry {
		s.expiry, ack.SvidExpireSeconds = now, now
	}
	if err := send(s.stream, &configpb.StreamRequest{Request: &configpb.StreamRequest_Ack{Ack: ack}}); err != nil {
		return err
	}
	current, err := s.client.confirm(u)
	if err != nil {
		return err
	}
	if current {
		s.good()
	}
	return nil
}

func (s *conversation) subscribe() error {
	news := s.client.unsent(s.sent)
	if news == nil {
		return nil
	}
	return send(s.stream, &configpb.StreamRequest{Request: &configpb.StreamRequest_Subscribe{Subscribe: news}})
}

func ended(err error) error {
	if errors.Is(err, io.EOF) {
		return errEnded
	}
	return fmt.Errorf("config stream: %w", err)
}

// moment is a random one within d.
func moment(d time.Duration) time.Duration {
	if d <= 0 {
		return 0
	}
	return rand.N(d)
}
