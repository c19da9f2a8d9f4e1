// Package machine says on what numbers were taken, and of what.
package machine
