// Package assets holds the artwork that is built into the program.
package assets

import _ "embed"

// IconSVG is the program's icon: people around a table, inside a speech balloon.
//
//go:embed icon.svg
var IconSVG []byte
