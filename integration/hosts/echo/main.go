// Command echo is the program that tests on several hosts run: a server and a client of HTTP, gRPC, TCP and UDP that know nothing
// of a mesh.
//
//	echo serve http|grpc|tcp|udp ADDRESS NAME    answers with its name and what it was told
//	echo call http|grpc|tcp|udp ADDRESS TEXT     prints the answer; with -each DURATION again and again, one line each
//	echo hold http|grpc|stream|tcp|udp ADDRESS TEXT   calls without a pause over connections that it keeps (stream and tcp: over
//	                                                  one that is never opened again), and prints what it counts until SIGTERM
//
// The TCP server speaks first. A call that fails prints why and ends with 1.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"time"
)

// maxDatagram is the largest payload that UDP over IPv4 can carry.
const maxDatagram = 65507

// patience bounds one call.
const patience = 5 * time.Second

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "echo:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	fs := flag.NewFlagSet("echo", flag.ContinueOnError)
	each := fs.Duration("each", 0, "call again and again with this pause")
	if err := fs.Parse(args); err != nil {
		return err
	}
	args = fs.Args()
	if len(args) != 4 {
		return errors.New("usage: echo [-each DURATION] serve|call|hold http|grpc|stream|tcp|udp ADDRESS TEXT")
	}
	verb, protocol, address, text := args[0], args[1], args[2], args[3]
	table := map[string]map[string]func(address, text string) (string, error){
		"serve": {"http": serveHTTP, "grpc": serveGRPC, "tcp": serveTCP, "udp": serveUDP},
		"hold": {
			"http": hold(holdHTTP), "grpc": hold(holdGRPC), "stream": hold(holdStream), "tcp": hold(holdTCP), "udp": hold(holdUDP),
		},
		"call": {"http": callHTTP, "grpc": callGRPC, "tcp": callTCP, "udp": callUDP},
	}
	do := table[verb][protocol]
	if do == nil {
		return fmt.Errorf("%s %s: there is no such thing", verb, protocol)
	}
	for {
		answer, err := do(address, text)
		if *each == 0 {
			if err == nil {
				fmt.Println(answer)
			}
			return err
		}
		if err != nil {
			answer = "error: " + err.Error()
		}
		fmt.Println(answer)
		time.Sleep(*each)
	}
}
