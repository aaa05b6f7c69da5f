package ui

import (
	"hash/fnv"
	"image/color"
	"maps"

	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/theme"
)

// Colours of ours beyond those the toolkit names.
const (
	colorSidebar    fyne.ThemeColorName = "tertuliaSidebar"
	colorBubble     fyne.ThemeColorName = "tertuliaBubble"
	colorBubbleMine fyne.ThemeColorName = "tertuliaBubbleMine"
	// The tentative tail: between the bubble and the ground it lies on.
	colorBubbleTail     fyne.ThemeColorName = "tertuliaBubbleTail"
	colorBubbleMineTail fyne.ThemeColorName = "tertuliaBubbleMineTail"
	colorText           fyne.ThemeColorName = "tertuliaText"
	colorTentative      fyne.ThemeColorName = "tertuliaTentative"
	colorMuted          fyne.ThemeColorName = "tertuliaMuted"
	colorClock          fyne.ThemeColorName = "tertuliaClock" // on a bubble
	colorDay            fyne.ThemeColorName = "tertuliaDay"
	colorDayText        fyne.ThemeColorName = "tertuliaDayText"
	colorNotice         fyne.ThemeColorName = "tertuliaNotice"
	colorNoticeText     fyne.ThemeColorName = "tertuliaNoticeText"
	colorBadge          fyne.ThemeColorName = "tertuliaBadge"
	colorOnline         fyne.ThemeColorName = "tertuliaOnline"
	colorOffline        fyne.ThemeColorName = "tertuliaOffline"
	colorShade          fyne.ThemeColorName = "tertuliaShade"
	colorCrown          fyne.ThemeColorName = "tertuliaCrown" // of who leads
	colorAlarm          fyne.ThemeColorName = "tertuliaAlarm" // what should never be
	colorAlarmText      fyne.ThemeColorName = "tertuliaAlarmText"
)

// Sizes of text in the toolkit's device-independent pixels. setTextSize alone
// changes them, on the toolkit's goroutine, before the window is built anew.
var (
	textSizeBody    float32 = 14
	textSizeSmall   float32 = 12
	textSizeTiny    float32 = 11
	textSizeHeading float32 = 17
)

// setTextSize makes all text larger or smaller.
func setTextSize(s TextSize) {
	textSizeBody, textSizeSmall, textSizeTiny, textSizeHeading = 14, 12, 11, 17
	switch s {
	case TextSmall:
		textSizeBody, textSizeSmall, textSizeTiny, textSizeHeading = 13, 11, 10, 16
	case TextNormal:
	case TextLarge:
		textSizeBody, textSizeSmall, textSizeTiny, textSizeHeading = 16, 14, 12, 19
	case TextLargest:
		textSizeBody, textSizeSmall, textSizeTiny, textSizeHeading = 19, 16, 14, 22
	}
}

// Other sizes in the same pixels.
const (
	minWidth       float32 = 460 // of the window: a sheet fits
	minHeight      float32 = 360
	sizeSwatch     float32 = 30
	sizeAvatar     float32 = 36
	sizeAvatarRoom float32 = 44
	sizeSidebar    float32 = 300
	sizeForm       float32 = 420
	sizeLabel      float32 = 140 // of a fact
	sizeSetting    float32 = 150 // of a setting's label

	padEdge        float32 = 16 // window edge to content
	padRow         float32 = 3  // between messages of one author
	padGroup       float32 = 12 // between authors
	padBubbleSide  float32 = 12
	padBubbleTop   float32 = 7
	padList        float32 = 12 // above the first and below the last message
	radiusBubble   float32 = 14
	radiusCorner   float32 = 4 // the corner that points at the author
	maxBubbleWidth float32 = 580
)

type palette map[fyne.ThemeColorName]color.NRGBA

var lightPalette = palette{
	theme.ColorNameBackground:          rgb(0xf3f1ec),
	theme.ColorNameForeground:          rgb(0x1d2523),
	theme.ColorNamePrimary:             rgb(0x0f766e),
	theme.ColorNameForegroundOnPrimary: rgb(0xffffff),
	theme.ColorNameButton:              rgb(0xe6e8e4),
	theme.ColorNameDisabledButton:      rgb(0xe4e5e1),
	theme.ColorNameDisabled:            rgb(0x8b9592),
	theme.ColorNamePlaceHolder:         rgb(0x75807d),
	theme.ColorNameHover:               rgba(0x0f2622, 0x0f),
	theme.ColorNamePressed:             rgba(0x0f2622, 0x1f),
	theme.ColorNameFocus:               rgba(0x0f766e, 0x40),
	theme.ColorNameSelection:           rgb(0xdcece8),
	theme.ColorNameInputBackground:     rgb(0xffffff),
	theme.ColorNameInputBorder:         rgb(0x808a86),
	theme.ColorNameSeparator:           rgb(0xe2e2dd),
	theme.ColorNameOverlayBackground:   rgb(0xfbfaf7),
	theme.ColorNameMenuBackground:      rgb(0xffffff),
	theme.ColorNameScrollBar:           rgba(0x1d2523, 0x66),
	theme.ColorNameScrollBarBackground: rgba(0x1d2523, 0x00),
	theme.ColorNameShadow:              rgba(0x1d2523, 0x2a),
	theme.ColorNameHyperlink:           rgb(0x0b6a9c),
	theme.ColorNameError:               rgb(0xb3372b),
	theme.ColorNameHeaderBackground:    rgb(0xffffff),

	colorSidebar:        rgb(0xffffff),
	colorBubble:         rgb(0xffffff),
	colorBubbleMine:     rgb(0xcfe9e2),
	colorBubbleTail:     rgb(0xfbfaf8),
	colorBubbleMineTail: rgb(0xe3f0ec),
	colorText:           rgb(0x1d2523),
	colorTentative:      rgb(0x55615e),
	colorMuted:          rgb(0x6b7673),
	colorClock:          rgb(0x55615e),
	colorDay:            rgb(0xe2e3dd),
	colorDayText:        rgb(0x515c59),
	colorNotice:         rgb(0xfbe9d6),
	colorNoticeText:     rgb(0x6b3a0c),
	colorBadge:          rgb(0x0f766e),
	colorOnline:         rgb(0x2f9e5b),
	colorOffline:        rgb(0xc27a1a),
	colorShade:          rgba(0x1d2523, 0x1c),
	colorCrown:          rgb(0xb07d05),
	colorAlarm:          rgb(0xfbdfdb),
	colorAlarmText:      rgb(0x7d150b),
}

var darkPalette = palette{
	theme.ColorNameBackground:          rgb(0x101415),
	theme.ColorNameForeground:          rgb(0xe6ebe9),
	theme.ColorNamePrimary:             rgb(0x3aa597),
	theme.ColorNameForegroundOnPrimary: rgb(0x06211d),
	theme.ColorNameButton:              rgb(0x283032),
	theme.ColorNameDisabledButton:      rgb(0x222829),
	theme.ColorNameDisabled:            rgb(0x738080),
	theme.ColorNamePlaceHolder:         rgb(0x87938f),
	theme.ColorNameHover:               rgba(0xe6ebe9, 0x10),
	theme.ColorNamePressed:             rgba(0xe6ebe9, 0x20),
	theme.ColorNameFocus:               rgba(0x3aa597, 0x50),
	theme.ColorNameSelection:           rgb(0x1f3f3b),
	theme.ColorNameInputBackground:     rgb(0x1f2628),
	theme.ColorNameInputBorder:         rgb(0x66736f),
	theme.ColorNameSeparator:           rgb(0x262d2f),
	theme.ColorNameOverlayBackground:   rgb(0x1a2022),
	theme.ColorNameMenuBackground:      rgb(0x232a2c),
	theme.ColorNameScrollBar:           rgba(0xe6ebe9, 0x66),
	theme.ColorNameScrollBarBackground: rgba(0xe6ebe9, 0x00),
	theme.ColorNameShadow:              rgba(0x000000, 0x60),
	theme.ColorNameHyperlink:           rgb(0x6cb8e6),
	theme.ColorNameError:               rgb(0xef7d70),
	theme.ColorNameHeaderBackground:    rgb(0x181e20),

	colorSidebar:        rgb(0x181e20),
	colorBubble:         rgb(0x20282a),
	colorBubbleMine:     rgb(0x1d4a44),
	colorBubbleTail:     rgb(0x171d1f),
	colorBubbleMineTail: rgb(0x173430),
	colorText:           rgb(0xe6ebe9),
	colorTentative:      rgb(0xb4bebb),
	colorMuted:          rgb(0x8d9995),
	colorClock:          rgb(0xa7b2af),
	colorDay:            rgb(0x232b2d),
	colorDayText:        rgb(0xa9b4b1),
	colorNotice:         rgb(0x46331c),
	colorNoticeText:     rgb(0xf5d7ab),
	colorBadge:          rgb(0x3aa597),
	colorOnline:         rgb(0x4cc37c),
	colorOffline:        rgb(0xe0a24a),
	colorShade:          rgba(0x000000, 0x50),
	colorCrown:          rgb(0xf0c04a),
	colorAlarm:          rgb(0x4f211d),
	colorAlarmText:      rgb(0xffd0c8),
}

// avatarColors tell authors apart; white text is readable on all of them.
var avatarColors = [...]color.NRGBA{
	rgb(0xb85036), rgb(0x2f7d6b), rgb(0x3b74b8), rgb(0x8a5bb5),
	rgb(0x9a6510), rgb(0xb4517f), rgb(0x5d7a2e), rgb(0x4f6a86),
}

var onAvatar = rgb(0xffffff)

// avatarColor is the same for a person everywhere and always.
func avatarColor(id string) color.NRGBA {
	h := fnv.New32a()
	_, _ = h.Write([]byte(id)) // never fails
	return avatarColors[h.Sum32()%uint32(len(avatarColors))]
}

// accents tint what can be pressed, and the own messages, in light and dark.
// The palettes have those of teal.
var accents = map[Accent]struct{ light, dark color.NRGBA }{
	AccentBlue:   {rgb(0x2563a8), rgb(0x6faaeb)},
	AccentViolet: {rgb(0x6b4aa8), rgb(0xab92ea)},
	AccentRose:   {rgb(0xa83862), rgb(0xe58aab)},
	AccentAmber:  {rgb(0x855608), rgb(0xd8a548)},
}

// tinted is a palette with another accent in the place of teal.
func tinted(p palette, accent, ink color.NRGBA, strong, faint float64) palette {
	out := maps.Clone(p)
	out[theme.ColorNamePrimary] = accent
	out[theme.ColorNameForegroundOnPrimary] = ink
	out[colorBadge] = accent
	focus := accent
	focus.A = p[theme.ColorNameFocus].A
	out[theme.ColorNameFocus] = focus
	out[theme.ColorNameSelection] = mix(accent, p[colorSidebar], faint)
	out[colorBubbleMine] = mix(accent, p[colorBubble], strong)
	out[colorBubbleMineTail] = mix(accent, p[theme.ColorNameBackground], faint)
	return out
}

// mix is a share of a over b.
func mix(a, b color.NRGBA, share float64) color.NRGBA {
	of := func(a, b uint8) uint8 { return uint8(float64(a)*share + float64(b)*(1-share) + 0.5) }
	return color.NRGBA{R: of(a.R, b.R), G: of(a.G, b.G), B: of(a.B, b.B), A: 255}
}

// appTheme is our palette and spacing over the toolkit's fonts and icons. It
// follows the light or dark variant of the system unless one was chosen.
type appTheme struct {
	fyne.Theme
	look        Look
	light, dark palette
}

// NewTheme returns the program's theme as it is when nothing was chosen.
func NewTheme() fyne.Theme { return newTheme(LookSystem, AccentTeal) }

func newTheme(look Look, accent Accent) fyne.Theme {
	t := appTheme{theme.DefaultTheme(), look, lightPalette, darkPalette}
	if a, ok := accents[accent]; ok {
		t.light = tinted(lightPalette, a.light, rgb(0xffffff), 0.17, 0.09)
		t.dark = tinted(darkPalette, a.dark, mix(a.dark, rgb(0), 0.16), 0.2, 0.12)
	}
	return t
}

// Color implements fyne.Theme.
func (t appTheme) Color(name fyne.ThemeColorName, variant fyne.ThemeVariant) color.Color {
	switch t.look {
	case LookSystem:
	case LookLight:
		variant = theme.VariantLight
	case LookDark:
		variant = theme.VariantDark
	}
	p := t.light
	if variant == theme.VariantDark {
		p = t.dark
	}
	if c, ok := p[name]; ok {
		return c
	}
	return t.Theme.Color(name, variant)
}

// Size implements fyne.Theme.
func (t appTheme) Size(name fyne.ThemeSizeName) float32 {
	switch name {
	case theme.SizeNameText:
		return textSizeBody
	case theme.SizeNameCaptionText:
		return textSizeSmall
	case theme.SizeNameSubHeadingText:
		return textSizeHeading
	case theme.SizeNamePadding:
		return 4
	case theme.SizeNameInnerPadding:
		return 9
	case theme.SizeNameInputRadius, theme.SizeNameButtonRadius, theme.SizeNameSelectionRadius:
		return 10
	case theme.SizeNameScrollBar:
		return 8
	case theme.SizeNameSeparatorThickness:
		return 1
	case theme.SizeNameModalBlurRadius:
		return 0 // where a processor draws, a blur behind a sheet takes longer than all else
	}
	return t.Theme.Size(name)
}

// authorColor is the avatar's colour, made lighter where it stands as text on
// a dark ground.
func authorColor(id string) color.NRGBA {
	c := avatarColor(id)
	if !dark() {
		return c
	}
	lift := func(v uint8) uint8 { return v + uint8((255-int(v))*2/5) }
	return color.NRGBA{R: lift(c.R), G: lift(c.G), B: lift(c.B), A: 255}
}

// dark tells whether the window is dark now.
func dark() bool {
	red, _, _, _ := theme.Color(colorBubble).RGBA()
	return red < 0x8000
}

func rgb(v uint32) color.NRGBA { return rgba(v, 0xff) }

func rgba(v uint32, alpha uint8) color.NRGBA {
	return color.NRGBA{R: uint8(v >> 16), G: uint8(v >> 8), B: uint8(v), A: alpha}
}
