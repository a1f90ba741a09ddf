package codepipeline

import (
	"path"
	"strings"
)

// contentType guesses an object's type from its key as `aws s3 cp` does: by
// the extension, without a charset. "" leaves the type to S3. The table is our
// own, so that the same commit is delivered alike from every machine.
func contentType(key string) string {
	name := path.Base(key)
	ext := strings.ToLower(path.Ext(name))
	if full, ok := shorthands[ext]; ok {
		name, ext = name[:len(name)-len(ext)]+full, path.Ext(full)
	}
	if compressions[ext] {
		name = name[:len(name)-len(ext)] // the type is that of what was compressed
		ext = strings.ToLower(path.Ext(name))
	}
	if ext == strings.ToLower(name) {
		return "" // a dot file has a name, no extension
	}
	return contentTypes[ext]
}

var (
	compressions = map[string]bool{".gz": true, ".bz2": true, ".xz": true, ".br": true, ".z": true}
	shorthands   = map[string]string{".tgz": ".tar.gz", ".tbz2": ".tar.bz2", ".txz": ".tar.xz", ".svgz": ".svg.gz"}
)

var contentTypes = map[string]string{
	".html": "text/html", ".htm": "text/html", ".xhtml": "application/xhtml+xml", ".css": "text/css", ".csv": "text/csv",
	".tsv": "text/tab-separated-values", ".txt": "text/plain", ".text": "text/plain", ".log": "text/plain", ".conf": "text/plain",
	".md": "text/markdown", ".markdown": "text/markdown", ".ics": "text/calendar", ".vcf": "text/x-vcard", ".vtt": "text/vtt",
	".rtf": "application/rtf", ".yaml": "application/yaml", ".yml": "application/yaml", ".toml": "application/toml",
	".js": "text/javascript", ".mjs": "text/javascript", ".cjs": "text/javascript", ".json": "application/json", ".map": "application/json",
	".jsonld": "application/ld+json", ".geojson": "application/geo+json", ".webmanifest": "application/manifest+json",
	".xml": "text/xml", ".xsl": "application/xml", ".xslt": "application/xml", ".rss": "application/rss+xml", ".atom": "application/atom+xml",
	".wasm": "application/wasm", ".pdf": "application/pdf", ".ps": "application/postscript", ".eps": "application/postscript",
	".py": "text/x-python", ".sh": "application/x-sh", ".c": "text/plain", ".h": "text/plain", ".java": "text/plain", ".sql": "application/sql",
	".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".jpe": "image/jpeg", ".gif": "image/gif", ".webp": "image/webp",
	".avif": "image/avif", ".heic": "image/heic", ".heif": "image/heif", ".apng": "image/apng", ".jxl": "image/jxl",
	".svg": "image/svg+xml", ".ico": "image/vnd.microsoft.icon", ".bmp": "image/bmp", ".tif": "image/tiff", ".tiff": "image/tiff",
	".woff": "font/woff", ".woff2": "font/woff2", ".ttf": "font/ttf", ".otf": "font/otf", ".eot": "application/vnd.ms-fontobject",
	".mp3": "audio/mpeg", ".m4a": "audio/mp4", ".aac": "audio/aac", ".oga": "audio/ogg", ".ogg": "audio/ogg", ".opus": "audio/opus",
	".wav": "audio/x-wav", ".flac": "audio/flac", ".weba": "audio/webm", ".mid": "audio/midi", ".midi": "audio/midi",
	".mp4": "video/mp4", ".m4v": "video/mp4", ".mpeg": "video/mpeg", ".mpg": "video/mpeg", ".ogv": "video/ogg", ".webm": "video/webm",
	".mov": "video/quicktime", ".avi": "video/x-msvideo", ".mkv": "video/x-matroska", ".m3u8": "application/vnd.apple.mpegurl",
	".mpd": "application/dash+xml", ".ts": "video/mp2t",
	".zip": "application/zip",
	".zst": "application/zstd", ".tar": "application/x-tar", ".7z": "application/x-7z-compressed", ".rar": "application/vnd.rar",
	".jar": "application/java-archive", ".war": "application/java-archive", ".bin": "application/octet-stream", ".exe": "application/octet-stream",
	".dll": "application/octet-stream", ".so": "application/octet-stream", ".iso": "application/octet-stream", ".epub": "application/epub+zip",
	".doc": "application/msword", ".xls": "application/vnd.ms-excel", ".ppt": "application/vnd.ms-powerpoint",
	".docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
	".xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
	".pptx": "application/vnd.openxmlformats-officedocument.presentationml.presentation",
	".odt":  "application/vnd.oasis.opendocument.text", ".ods": "application/vnd.oasis.opendocument.spreadsheet",
	".odp": "application/vnd.oasis.opendocument.presentation",
}
