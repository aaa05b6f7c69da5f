package ui

import (
	"context"
	"image"
	"image/color"
	"strings"
	"time"

	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/canvas"
	"fyne.io/fyne/v2/container"
	"fyne.io/fyne/v2/theme"
	"fyne.io/fyne/v2/widget"
	"rsc.io/qr"

	"tertulia/chat"
)

// The limits that an invite can be given, in the order of their names.
var (
	inviteLives = [...]time.Duration{time.Hour, 24 * time.Hour, 7 * 24 * time.Hour, 0}
	inviteUses  = [...]int{1, 10, 0}
)

// showInvite shows a link into a room, as text and as a picture for a camera. A
// change of its limits makes another link; those made before stay valid.
func (w *Window) showInvite(room chat.Room) {
	var (
		s     *sheet
		link  string
		asked int // links asked for; an answer to an earlier one is forgotten
	)
	picture := newQRPicture()
	text := widget.NewLabel("")
	text.Truncation = fyne.TextTruncateEllipsis
	said := paragraph(" ", theme.SizeNameCaptionText, colorMuted, false)
	say := func(words string) { setParagraph(said, words) }
	lives := newChoice(len(inviteLives)-1, tr(textHour), tr(textOneDay), tr(textWeek), tr(textAlways))
	uses := newChoice(len(inviteUses)-1, tr(textOnce), tr(textTenTimes), tr(textAnyTimes))
	ask := func() {
		asked++
		this := asked
		o := chat.InviteOptions{Room: room.ID, Expires: inviteLives[lives.chosen], Uses: inviteUses[uses.chosen]}
		s.act.Disable()
		var made string
		w.loop.act(func(ctx context.Context) (err error) {
			made, err = w.loop.node.Invite(ctx, o)
			return err
		}, func(err error) {
			if this != asked {
				return
			}
			if err != nil {
				link = ""
				s.fail(err)
			} else {
				link = made
				s.notice.hide()
				s.act.Enable()
			}
			text.SetText(link)
			say(" ")
			if !picture.set(link) {
				say(tr(textNoPicture))
			}
		})
	}
	lives.OnChange = func(int) { ask() }
	uses.OnChange = func(int) { ask() }
	about := paragraph(tr(textInviteAbout), theme.SizeNameText, colorMuted, false)
	options := column(8, field(tr(textInviteEnds), lives), field(tr(textInviteUses), uses), field(tr(textInviteLink), container.NewStack(newGround(theme.ColorNameInputBackground, 10), text)), said)
	width := sizeQR + 36 + max(lives.MinSize().Width, uses.MinSize().Width)
	body := container.NewBorder(nil, nil, container.NewVBox(padded(6, 0, 8, 14, picture.raster)), nil, options)
	if width > w.win.Canvas().Size().Width-60 {
		width = sizeForm
		body = column(4, container.NewCenter(picture.raster), options)
	}
	body = column(2, about, body)
	scroll := container.NewVScroll(body)
	s = newSheetOf(w.win, width, tr(textInviteTo, args{"Room": visibleLine(room.Name)}), tr(textClose), tr(textCopyLink), scroll, func() {
		w.app.Clipboard().SetContent(link)
		say(tr(textCopied))
	})
	body.Resize(fyne.NewSize(width, 0)) // wraps, so that its height is known
	scroll.SetMinSize(fyne.NewSize(width, roomFor(w.win.Canvas(), body.MinSize().Height+4)))
	s.fit()
	s.show()
	ask()
}

// qrPicture is a text as a QR code: black on white in every theme, each module
// a whole number of the screen's pixels, and the quiet zone around that readers
// need.
type qrPicture struct {
	raster *canvas.Raster
	code   *qr.Code
}

const sizeQR float32 = 292 // 4 pixels a module up to version 12, 3 up to 16

const quietZone = 4 // modules, ISO/IEC 18004

func newQRPicture() *qrPicture {
	p := &qrPicture{}
	p.raster = canvas.NewRaster(p.draw)
	p.raster.SetMinSize(fyne.NewSize(sizeQR, sizeQR))
	return p
}

// set shows a link, or nothing for ""; false when it is too long for a code.
// Links mean the same in capitals, and those take a third less room.
func (p *qrPicture) set(link string) bool {
	p.code = nil
	var err error
	if link != "" {
		p.code, err = qr.Encode(strings.ToUpper(link), qr.L)
	}
	p.raster.Refresh()
	return err == nil
}

func (p *qrPicture) draw(w, h int) image.Image {
	img := image.NewPaletted(image.Rect(0, 0, w, h), color.Palette{color.White, color.Black})
	if p.code == nil {
		return img
	}
	module := min(w, h) / (p.code.Size + 2*quietZone)
	left, top := (w-module*p.code.Size)/2, (h-module*p.code.Size)/2
	for y := range p.code.Size * module {
		for x := range p.code.Size * module {
			if p.code.Black(x/module, y/module) {
				img.SetColorIndex(left+x, top+y, 1)
			}
		}
	}
	return img
}
