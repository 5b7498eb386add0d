// The smallest PDF that can hold a page: one A4 page, one JPEG over all of it (ISO 32000-1, DCTDecode).

/** Wrap a JPEG of width × height pixels as a one-page A4 PDF. Returns a Blob. */
export function imagePdf(jpeg, width, height) {
  const bytes = (text) => new TextEncoder().encode(text);
  const content = "q 595 0 0 842 0 0 cm /Page Do Q";
  const objects = [
    [bytes("<< /Type /Catalog /Pages 2 0 R >>")],
    [bytes("<< /Type /Pages /Kids [3 0 R] /Count 1 >>")],
    [bytes("<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents 4 0 R /Resources << /XObject << /Page 5 0 R >> >> >>")],
    [bytes(`<< /Length ${content.length} >>\nstream\n${content}\nendstream`)],
    [
      bytes(`<< /Type /XObject /Subtype /Image /Width ${width} /Height ${height} /ColorSpace /DeviceRGB /BitsPerComponent 8 /Filter /DCTDecode /Length ${jpeg.length} >>\nstream\n`),
      jpeg,
      bytes("\nendstream"),
    ],
  ];
  const parts = [];
  const offsets = [];
  let length = 0;
  const add = (part) => { parts.push(part); length += part.length; };
  add(bytes("%PDF-1.4\n"));
  objects.forEach((object, index) => {
    offsets.push(length);
    add(bytes(`${index + 1} 0 obj\n`));
    object.forEach(add);
    add(bytes("\nendobj\n"));
  });
  const table = length;
  const entries = offsets.map((offset) => `${String(offset).padStart(10, "0")} 00000 n \n`).join("");
  add(bytes(`xref\n0 ${objects.length + 1}\n0000000000 65535 f \n${entries}`));
  add(bytes(`trailer\n<< /Size ${objects.length + 1} /Root 1 0 R >>\nstartxref\n${table}\n%%EOF\n`));
  return new Blob(parts, { type: "application/pdf" });
}
