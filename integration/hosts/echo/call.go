package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

func callHTTP(address, text string) (string, error) {
	client := &http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Post("http://"+address+"/", "text/plain", strings.NewReader(text)) //nolint:noctx // bounded by the client
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return "", err
	}
	if resp.StatusCode != http.StatusOK {
		return "", fmt.Errorf("%s: %s", resp.Status, resp.Header.Get("weft-error"))
	}
	return string(body), nil
}

func callGRPC(address, text string) (string, error) {
	conn, err := grpc.NewClient("passthrough:///"+address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return "", err
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	out := &wrapperspb.StringValue{}
	var header, trailer metadata.MD
	if err := conn.Invoke(ctx, echoMethod, wrapperspb.String(text), out, grpc.Header(&header), grpc.Trailer(&trailer)); err != nil {
		return "", fmt.Errorf("%w: %s", err, strings.Join(append(header.Get("weft-error"), trailer.Get("weft-error")...), ", "))
	}
	return out.GetValue(), nil
}

func callTCP(address, text string) (string, error) {
	conn, err := dial("tcp", address)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	lines := bufio.NewReader(conn)
	greeting, err := lines.ReadString('\n')
	if err != nil {
		return "", fmt.Errorf("no greeting: %w", err)
	}
	if _, err := fmt.Fprintln(conn, text); err != nil {
		return "", err
	}
	answer, err := lines.ReadString('\n')
	if err != nil {
		return "", fmt.Errorf("no answer: %w", err)
	}
	return strings.TrimSpace(greeting) + ", " + strings.TrimSpace(answer), nil
}

func callUDP(address, text string) (string, error) {
	conn, err := dial("udp", address)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, text); err != nil {
		return "", err
	}
	b := make([]byte, maxDatagram)
	n, err := conn.Read(b)
	return string(b[:n]), err
}

func dial(network, address string) (net.Conn, error) {
	d := net.Dialer{Timeout: patience}
	conn, err := d.Dial(network, address)
	if err != nil {
		return nil, err
	}
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		conn.Close()
		return nil, err
	}
	return conn, nil
}
