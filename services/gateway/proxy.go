package gateway

import (
	"context"
	"errors"
	"io"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/weft-mesh/weft/services/internal/fault"
	"github.com/weft-mesh/weft/services/internal/rpc"
)

// callTimeout bounds a call whose caller set no deadline and whose answer is not a stream.
const callTimeout = 15 * time.Second

// Dial connects to a service.
type Dial func(service string) (grpc.ClientConnInterface, error)

// proxy passes calls on to the services that own them. All of its methods take one request.
type proxy struct {
	dial    Dial
	codec   codec
	methods map[string]method
	// before runs before a call is passed on, by method; an error refuses it.
	before map[string]func(ctx context.Context, request []byte) error
}

// handle passes one call on. It is the gRPC server's handler for every method that the gateway does not implement.
func (p *proxy) handle(_ any, stream grpc.ServerStream) error {
	name, _ := grpc.MethodFromServerStream(stream)
	m, ok := p.methods[name]
	if !ok || m.service == "" {
		return status.Errorf(codes.Unimplemented, "the gateway does not offer %s", name)
	}
	ctx, cancel := bounded(stream.Context(), m)
	defer cancel()
	request := &frame{}
	if err := stream.RecvMsg(request); err != nil {
		return err
	}
	if before := p.before[name]; before != nil {
		if err := before(ctx, request.data); err != nil {
			return err
		}
	}
	owner, err := p.open(ctx, name, m, request)
	if err != nil {
		return err
	}
	return answer(stream, owner, m)
}

// bounded gives a call without a deadline one, unless its answer is a stream.
func bounded(ctx context.Context, m method) (context.Context, context.CancelFunc) {
	if _, ok := ctx.Deadline(); ok || m.stream {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, callTimeout)
}

func (p *proxy) open(ctx context.Context, name string, m method, request *frame) (grpc.ClientStream, error) {
	conn, err := p.dial(m.service)
	if err != nil {
		return nil, fault.Wrap(fault.Unavailable, err, "service %s cannot be reached", m.service)
	}
	owner, err := conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true}, name, grpc.ForceCodecV2(p.codec))
	if err != nil {
		if status.Code(err) == codes.Unavailable {
			return nil, fault.Wrap(fault.Unavailable, rpc.FaultOf(err), "service %s cannot be reached", m.service)
		}
		return nil, err
	}
	if err := owner.SendMsg(request); err != nil && !errors.Is(err, io.EOF) { // EOF: the reason comes with the answer
		return nil, err
	}
	return owner, owner.CloseSend()
}

// answer passes back what the owner answers, message by message, and its status as it is.
func answer(stream grpc.ServerStream, owner grpc.ClientStream, m method) error {
	if m.stream {
		if header, err := owner.Header(); err == nil && header != nil {
			if err := stream.SendHeader(metadata.MD{}); err != nil { // the client learns now that it was let in
				return err
			}
		}
	}
	for {
		message := &frame{}
		if err := owner.RecvMsg(message); err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
		if err := trim(stream.Context(), m, message); err != nil {
			return err
		}
		if err := stream.SendMsg(message); err != nil {
			return err
		}
	}
}
