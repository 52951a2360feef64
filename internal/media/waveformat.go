package media

import "fmt"

// waveFormat is a WAVEFORMATEX, as in the fmt chunk of WAV and in ASF.
type waveFormat struct {
	tag      int
	channels int
	rate     int   // Hz
	byteRate int64 // bytes per second, a mean
	block    int   // bytes that belong together
	bits     int   // per sample; 0 for most compressed codecs
	perBlock int   // samples per channel in a block; 0 = not stated
}

// readWaveFormat reports false for a format that describes no audio.
func readWaveFormat(b []byte) (waveFormat, bool) {
	f := waveFormat{
		tag: int(le(b, 0, 2)), channels: int(le(b, 2, 2)), rate: int(le(b, 4, 4)), byteRate: le(b, 8, 4),
		block: int(le(b, 12, 2)), bits: int(le(b, 14, 2)), perBlock: int(le(b, 18, 2)),
	}
	// WAVE_FORMAT_EXTENSIBLE: the tag begins a GUID whose rest is the same for all tags.
	if f.tag == 0xFFFE && text(b, 26, 14) == "\x00\x00\x00\x00\x10\x00\x80\x00\x00\xaa\x00\x38\x9b\x71" {
		f.tag = int(le(b, 24, 2))
	}
	return f, len(b) >= 14 && f.channels > 0 && f.rate > 0
}

// codec names the format tag. The numbers are those that Microsoft and
// makers of recorders registered.
func (f waveFormat) codec() string {
	switch {
	case f.tag == 1 && f.bits <= 8:
		return "pcm_u8"
	case f.tag == 1:
		return fmt.Sprintf("pcm_s%dle", f.sampleBytes()*8)
	case f.tag == 3:
		return fmt.Sprintf("pcm_f%dle", f.sampleBytes()*8)
	}
	name, ok := map[int]string{
		0x0002: "adpcm_ms", 0x0011: "adpcm_ima", 0x0010: "adpcm_oki", 0x0017: "adpcm_oki",
		0x0006: "pcm_alaw", 0x0007: "pcm_mulaw", 0x0031: "gsm_ms", 0x0022: "truespeech",
		0x0042: "g723_1", 0x0111: "g723_1", 0xA100: "g723_1",
		0x0083: "g729", 0x0133: "g729", 0x0134: "g729", 0xA103: "g729",
		0x0014: "adpcm_g726", 0x0040: "adpcm_g726", 0x0045: "adpcm_g726", 0x0064: "adpcm_g726",
		0x0065: "adpcm_g722", 0x028F: "adpcm_g722", 0x0050: "mp2", 0x0055: "mp3",
		0x0057: "amr_nb", 0x0058: "amr_wb", 0x00FF: "aac", 0x1600: "aac", 0x1610: "aac", 0xA109: "speex",
		0x000A: "wmavoice", 0x0160: "wmav1", 0x0161: "wmav2", 0x0162: "wmapro", 0x0163: "wmalossless",
	}[f.tag]
	if !ok {
		name = fmt.Sprintf("wav_0x%04x", f.tag)
	}
	return name
}

// sampleBytes is the room one sample of one channel takes.
func (f waveFormat) sampleBytes() int { return (f.bits + 7) / 8 }

// packing returns how many samples per channel a block of how many bytes
// holds; 0, 0 for a codec without fixed blocks.
func (f waveFormat) packing() (block, samples int64) {
	ch, size := int64(f.channels), int64(f.block)
	switch f.codec() {
	case "pcm_alaw", "pcm_mulaw":
		return ch, 1
	case "gsm_ms":
		return 65, 320 // two frames of 160 samples share 65 bytes
	case "adpcm_ima": // 4 bytes of state per channel are the first sample, then two per byte
		return f.adpcm((size-4*ch)*2/ch + 1)
	case "adpcm_ms": // 7 bytes of state per channel are the first two samples
		return f.adpcm((size-7*ch)*2/ch + 2)
	case "g723_1": // 30 ms in 24 bytes, or 20 at the lower rate
		if size > 0 && size%24 == 0 {
			return 24 * ch, 240
		}
		if size > 0 && size%20 == 0 {
			return 20 * ch, 240
		}
	case "g729": // 10 ms in 10 bytes
		return 10 * ch, 80
	}
	if f.tag == 1 || f.tag == 3 {
		return int64(f.sampleBytes()) * ch, 1
	}
	return 0, 0
}

// adpcm prefers the stated samples per block, unless the block cannot hold them.
func (f waveFormat) adpcm(most int64) (block, samples int64) {
	if stated := int64(f.perBlock); stated > 0 && stated < most {
		most = stated
	}
	return int64(f.block), most
}

// samples returns the samples per channel in n bytes of audio. fact is what
// the fact chunk says, 0 = nothing: it is believed where it only tells how
// full the last block is, or within 10 % of a codec's mean rate, because
// recorders also write it in bytes or per all channels.
func (f waveFormat) samples(n, fact int64) (samples int64, exact bool) {
	block, per := f.packing()
	if block > 0 && per > 0 {
		samples = n / block * per
		if full := (n + block - 1) / block * per; fact > samples-per && fact <= full && fact > 0 && per > 1 {
			samples = fact
		}
		return samples, true
	}
	if f.byteRate <= 0 {
		return 0, false
	}
	samples = int64(min(float64(n)*float64(f.rate)/float64(f.byteRate), 1<<62))
	if off := samples - fact; fact > 0 && max(off, -off) <= samples/10 {
		return fact, true
	}
	return samples, false
}
