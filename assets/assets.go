// Package assets holds the artwork that is built into the program.
package assets

import _ "embed"

// IconSVG is the program's icon: people around a table, inside a speech balloon.
//
//go:embed icon.svg
var IconSVG []byte

// Marks of one colour: of the two orders, a crown and a round of equals, and of
// a room that is muted.
var (
	//go:embed leader.svg
	LeaderSVG []byte
	//go:embed lamport.svg
	LamportSVG []byte
	//go:embed muted.svg
	MutedSVG []byte
)
