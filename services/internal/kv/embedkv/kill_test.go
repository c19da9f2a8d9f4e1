package embedkv_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"testing"

	"go.uber.org/zap"

	"github.com/weft-mesh/weft/services/internal/kv"
	"github.com/weft-mesh/weft/services/internal/kv/embedkv"
)

// childDir makes this test binary a program that writes to a store in the directory until it is killed.
const childDir = "WEFT_TEST_EMBEDKV_DIR"

func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		fmt.Fprintln(os.Stderr, writeForEver(dir))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// writeForEver prints the key of each write once it is acknowledged.
func writeForEver(dir string) error {
	s, err := embedkv.Open(context.Background(), embedkv.Config{Dir: dir, Log: zap.NewNop()})
	if err != nil {
		return err
	}
	for i := 0; ; i++ {
		key := fmt.Sprintf("k%06d", i)
		if _, err := s.Put(context.Background(), key, []byte(key), kv.Always()); err != nil {
			return err
		}
		fmt.Println(key)
	}
}

func TestKillLosesNoAcknowledgedWrite(t *testing.T) {
	dir := t.TempDir()
	for round := range 2 {
		child := exec.CommandContext(t.Context(), os.Args[0])
		child.Env = append(os.Environ(), childDir+"="+dir)
		child.Stderr = os.Stderr
		out, err := child.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		var acknowledged []string
		lines := bufio.NewScanner(out)
		for lines.Scan() {
			acknowledged = append(acknowledged, lines.Text())
			if len(acknowledged) == 200 {
				if err := child.Process.Kill(); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := child.Wait(); err == nil {
			t.Fatal("the writer ended by itself")
		}
		s := open(t, dir)
		for _, key := range acknowledged {
			if _, err := s.Get(t.Context(), key); err != nil {
				t.Errorf("round %d: acknowledged write: %v", round, err)
			}
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
