package main

import (
	"fmt"
	"io"
	"strings"
	"sync"

	"github.com/charmbracelet/lipgloss"
)

// narrator tells the story: headings, commands as a person would type them, their output, and whether promises were kept.
type narrator struct {
	mu      sync.Mutex
	w       io.Writer
	head    lipgloss.Style
	command lipgloss.Style
	good    lipgloss.Style
	bad     lipgloss.Style
	broken  []string
}

func newNarrator(w io.Writer) *narrator {
	r := lipgloss.NewRenderer(w)
	return &narrator{
		w:       w,
		head:    r.NewStyle().Bold(true).Foreground(lipgloss.Color("12")),
		command: r.NewStyle().Foreground(lipgloss.Color("11")),
		good:    r.NewStyle().Foreground(lipgloss.Color("10")),
		bad:     r.NewStyle().Bold(true).Foreground(lipgloss.Color("9")),
	}
}

func (n *narrator) heading(text string) { n.line("\n" + n.head.Render("== "+text)) }

func (n *narrator) say(text string) { n.line("   " + text) }

func (n *narrator) typed(command string) { n.line("   " + n.command.Render("$ "+command)) }

// shown prints a command's output, indented.
func (n *narrator) shown(output string) {
	for line := range strings.Lines(strings.TrimRight(output, "\n")) {
		n.line("     " + strings.TrimRight(line, "\n"))
	}
}

// promise says whether something is as it should be, and remembers it when not.
func (n *narrator) promise(kept bool, format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if kept {
		n.line("   " + n.good.Render("ok ") + text)
		return
	}
	n.mu.Lock()
	n.broken = append(n.broken, text)
	n.mu.Unlock()
	n.line("   " + n.bad.Render("NOT AS PROMISED ") + text)
}

func (n *narrator) line(text string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	fmt.Fprintln(n.w, text)
}
