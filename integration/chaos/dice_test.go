package chaos

import (
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"
)

// newDice is what random faults are drawn from. Its seed is printed, and WEFT_CHAOS_SEED repeats it.
func newDice(t *testing.T) *rand.Rand {
	t.Helper()
	seed := uint64(time.Now().UnixNano()) % 1_000_000
	if text := os.Getenv("WEFT_CHAOS_SEED"); text != "" {
		n, err := strconv.ParseUint(text, 10, 64)
		must(t, err)
		seed = n
	}
	t.Logf("seed %d; replay with WEFT_CHAOS_SEED=%d and -run '^%s$'", seed, seed, t.Name())
	return rand.New(rand.NewPCG(seed, 0))
}

// duration of the random faults: WEFT_CHAOS_FOR, or short enough for every day.
func duration(t *testing.T) time.Duration {
	t.Helper()
	text := os.Getenv("WEFT_CHAOS_FOR")
	if text == "" {
		return 45 * time.Second
	}
	d, err := time.ParseDuration(text)
	must(t, err)
	return d
}
