package differ

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// find looks for a program below WEFT_DEBIAN, then in PATH. In CI it has to be there.
func find(tb testing.TB, name string) (path string, ok bool) {
	tb.Helper()
	if debian := os.Getenv("WEFT_DEBIAN"); debian != "" {
		path = filepath.Join(debian, "usr/sbin", name)
		if _, err := os.Stat(path); err == nil {
			return path, true
		}
	}
	path, err := exec.LookPath(name)
	if err != nil && os.Getenv("CI") != "" {
		tb.Fatalf("%s is missing, and in CI nothing may be left out: run `make scripts`", name)
	}
	return path, err == nil
}

// launch starts a program that listens on a socket in a folder of its own, and returns the socket once somebody answers there.
// config gets the folder.
func launch(tb testing.TB, config func(dir string) string, command ...string) (socket string) {
	tb.Helper()
	dir := tb.TempDir()
	file := filepath.Join(dir, "config")
	if err := os.WriteFile(file, []byte(config(dir)), 0o600); err != nil {
		tb.Fatal(err)
	}
	cmd := exec.Command(command[0], append(command[1:], file)...)
	cmd.Env = append(os.Environ(), "LD_LIBRARY_PATH="+filepath.Join(os.Getenv("WEFT_DEBIAN"), "usr/lib/x86_64-linux-gnu"))
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	tb.Cleanup(func() {
		_ = cmd.Process.Kill() // it may have ended already
		<-ended
	})
	socket = filepath.Join(dir, "socket")
	again := time.NewTicker(10 * time.Millisecond)
	defer again.Stop()
	for range again.C {
		if conn, err := net.Dial("unix", socket); err == nil {
			conn.Close()
			return socket
		}
		select {
		case err := <-ended:
			ended <- err
			tb.Fatalf("%s: %v", command[0], err)
		default:
		}
	}
	return ""
}

// nginx starts an nginx before a program. It reads a request to its end before it sends it on.
func nginx(tb testing.TB, path, program string) string {
	return launch(tb, func(dir string) string {
		return "daemon off; master_process off; pid " + dir + "/pid; error_log stderr crit; events {}\n" +
			"http { access_log off; client_max_body_size 0; ignore_invalid_headers off; underscores_in_headers on; large_client_header_buffers 8 64k;\n" +
			"client_body_temp_path " + dir + "/1; proxy_temp_path " + dir + "/2; fastcgi_temp_path " + dir + "/3; uwsgi_temp_path " + dir + "/4; scgi_temp_path " + dir + "/5;\n" +
			"server { listen unix:" + dir + "/socket; location / { proxy_pass http://" + program + "; proxy_http_version 1.1; proxy_set_header Host $http_host; } } }\n"
	}, path, "-e", "stderr", "-c")
}

// haproxy starts a HAProxy before a program.
func haproxy(tb testing.TB, path, program string) string {
	return launch(tb, func(dir string) string {
		return "global\n  maxconn 500\n  tune.bufsize 131072\n  tune.http.maxhdr 300\ndefaults\n  mode http\n  timeout client 1m\n  timeout server 1m\n  timeout connect 5s\n" +
			"frontend f\n  bind unix@" + dir + "/socket\n  default_backend b\nbackend b\n  server s " + program + "\n"
	}, path, "-db", "-q", "-f")
}
