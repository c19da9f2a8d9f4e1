package gateway

import (
	"context"
	"fmt"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"github.com/weft-mesh/weft/services/internal/fault"
)

// unaryExchange is a call that the gateway answers itself, with one message.
type unaryExchange struct {
	in      any
	handler grpc.UnaryHandler
	out     any
}

func (u *unaryExchange) read(method) (proto.Message, error) {
	m, ok := u.in.(proto.Message)
	if !ok {
		return nil, fault.New(fault.Internal, "request is no message")
	}
	return m, nil
}

func (u *unaryExchange) carryOut(ctx context.Context, keep bool) (encoded []byte, err error) {
	if u.out, err = u.handler(ctx, u.in); err != nil || !keep {
		return nil, err
	}
	return encode(u.out)
}

func (u *unaryExchange) replay(m method, response []byte) error {
	out := m.output.New().Interface()
	if err := proto.Unmarshal(response, out); err != nil {
		return fmt.Errorf("decode the kept answer: %w", err)
	}
	u.out = out
	return nil
}

// streamExchange is a call that is passed on as it is, or whose answer is a stream.
type streamExchange struct {
	srv     any
	stream  grpc.ServerStream
	handler grpc.StreamHandler
	request *frame // nil until it has been read
}

func (s *streamExchange) read(m method) (proto.Message, error) {
	request := &frame{}
	if err := s.stream.RecvMsg(request); err != nil {
		return nil, err
	}
	message := m.input.New().Interface()
	if err := proto.Unmarshal(request.data, message); err != nil {
		return nil, fault.Wrap(fault.Invalid, err, "decode the request")
	}
	s.request = request
	return message, nil
}

func (s *streamExchange) carryOut(ctx context.Context, keep bool) ([]byte, error) {
	stream := &callStream{ServerStream: s.stream, ctx: ctx, request: s.request, keep: keep}
	err := s.handler(s.srv, stream)
	return stream.response, err
}

func (s *streamExchange) replay(_ method, response []byte) error {
	return s.stream.SendMsg(&frame{data: response})
}

// callStream is a stream whose context says who calls, whose request has been read already, and which ends when the gateway
// stops.
type callStream struct {
	grpc.ServerStream
	ctx      context.Context // replaces the stream's own, which is what interceptors are for
	request  *frame
	keep     bool
	response []byte
}

// Context is the context of the call.
func (s *callStream) Context() context.Context { return s.ctx }

// RecvMsg hands out the request that was read to judge the call, once.
func (s *callStream) RecvMsg(m any) error {
	if s.request == nil {
		return s.ServerStream.RecvMsg(m)
	}
	request := s.request
	s.request = nil
	switch m := m.(type) {
	case *frame:
		m.data = request.data
		return nil
	case proto.Message:
		return proto.Unmarshal(request.data, m)
	}
	return fmt.Errorf("read the request into %T, which is no message", m)
}

// SendMsg sends a message, and keeps it encoded when it is the answer to a change.
func (s *callStream) SendMsg(m any) (err error) {
	if s.keep {
		if s.response, err = encode(m); err != nil {
			return err
		}
	}
	return s.ServerStream.SendMsg(m)
}

func encode(m any) ([]byte, error) {
	switch m := m.(type) {
	case *frame:
		return m.data, nil
	case proto.Message:
		return proto.Marshal(m)
	}
	return nil, fault.New(fault.Internal, "answer is %T, which is no message", m)
}
