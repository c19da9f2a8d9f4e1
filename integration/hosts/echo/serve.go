package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// echoMethod takes a text and returns the server's name and the text; talkMethod does so for a stream of texts.
const (
	echoMethod = "/echo.Echo/Say"
	talkMethod = "/echo.Echo/Talk"
)

func serveHTTP(address, name string) (string, error) {
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		fmt.Fprintf(w, "%s says %s to %s", name, body, r.Header.Get("weft-source"))
	})
	return "", http.ListenAndServe(address, handler) //nolint:gosec // a test's program
}

type sayer interface {
	say(ctx context.Context, text string) string
}

type named string

func (n named) say(ctx context.Context, text string) string {
	md, _ := metadata.FromIncomingContext(ctx)
	return fmt.Sprintf("%s says %s to %s", string(n), text, strings.Join(md.Get("weft-source"), ","))
}

// echoDesc is what protoc would generate for: service Echo { rpc Say(StringValue) returns (StringValue); rpc Talk(stream
// StringValue) returns (stream StringValue); }
func echoDesc() *grpc.ServiceDesc {
	say := func(srv any, ctx context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
		in := &wrapperspb.StringValue{}
		if err := decode(in); err != nil {
			return nil, err
		}
		return wrapperspb.String(srv.(sayer).say(ctx, in.GetValue())), nil
	}
	talk := func(srv any, st grpc.ServerStream) error {
		for in := (&wrapperspb.StringValue{}); ; {
			if err := st.RecvMsg(in); err != nil {
				return nil //nolint:nilerr // the client has ended
			}
			if err := st.SendMsg(wrapperspb.String(srv.(sayer).say(st.Context(), in.GetValue()))); err != nil {
				return err
			}
		}
	}
	return &grpc.ServiceDesc{
		ServiceName: "echo.Echo", HandlerType: (*sayer)(nil), Methods: []grpc.MethodDesc{{MethodName: "Say", Handler: say}},
		Streams: []grpc.StreamDesc{{StreamName: "Talk", Handler: talk, ClientStreams: true, ServerStreams: true}},
	}
}

func serveGRPC(address, name string) (string, error) {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return "", err
	}
	server := grpc.NewServer()
	server.RegisterService(echoDesc(), named(name))
	return "", server.Serve(l)
}

func serveTCP(address, name string) (string, error) {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return "", err
	}
	for {
		conn, err := l.Accept()
		if err != nil {
			return "", err
		}
		go greet(conn, name)
	}
}

// greet speaks first, then repeats every line.
func greet(conn net.Conn, name string) {
	defer conn.Close()
	if _, err := fmt.Fprintf(conn, "this is %s\n", name); err != nil {
		return
	}
	for lines := bufio.NewScanner(conn); lines.Scan(); {
		if _, err := fmt.Fprintf(conn, "%s says %s\n", name, lines.Text()); err != nil {
			return
		}
	}
}

func serveUDP(address, name string) (string, error) {
	conn, err := net.ListenPacket("udp", address)
	if err != nil {
		return "", err
	}
	b := make([]byte, maxDatagram)
	for {
		n, from, err := conn.ReadFrom(b)
		if err != nil {
			return "", err
		}
		if _, err := conn.WriteTo([]byte(name+" says "+string(b[:n])), from); err != nil {
			return "", err
		}
	}
}
