// Package assets holds the artwork that is built into the program.
package assets

import _ "embed"

// IconSVG is the program's icon: people around a table, inside a speech balloon.
//
//go:embed icon.svg
var IconSVG []byte

// LeaderSVG and LamportSVG are the marks of the two orders, in one colour: a
// crown, and a round of equals.
var (
	//go:embed leader.svg
	LeaderSVG []byte
	//go:embed lamport.svg
	LamportSVG []byte
)
