package ui

import (
	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/canvas"
	"fyne.io/fyne/v2/theme"

	"tertulia/assets"
	"tertulia/chat"
)

// sizeMark is the width and height of a small picture beside a name.
const sizeMark float32 = 14

var (
	iconLeader  = fyne.NewStaticResource("leader.svg", assets.LeaderSVG)
	iconLamport = fyne.NewStaticResource("lamport.svg", assets.LamportSVG)
	iconMuted   = fyne.NewStaticResource("muted.svg", assets.MutedSVG)
)

func newMark(icon fyne.Resource) *canvas.Image {
	mark := canvas.NewImageFromResource(theme.NewColoredResource(icon, colorMuted))
	mark.FillMode = canvas.ImageFillContain
	return mark
}

// orderMark is a crown where a leader orders, a round of equals where nobody does.
func orderMark(o chat.Order) *canvas.Image {
	if o == chat.Leader {
		return newMark(iconLeader)
	}
	return newMark(iconLamport)
}

func muteMark() *canvas.Image { return newMark(iconMuted) }
