//! An object with an XDP program that passes everything: no compiler is needed for two instructions.

/// Its name.
pub(super) const PROGRAM: &str = "empty";

/// The machine number of BPF in ELF.
const EM_BPF: u16 = 247;

/// `r0 = XDP_PASS`, `exit`.
const CODE: [u8; 16] = [0xb7, 0, 0, 0, 2, 0, 0, 0, 0x95, 0, 0, 0, 0, 0, 0, 0];
const STRINGS: &[u8] = b"\0.strtab\0xdp\0license\0.symtab\0empty\0";

const PROGBITS: u32 = 1;
const SYMTAB: u32 = 2;
const STRTAB: u32 = 3;
/// ALLOC and EXECINSTR.
const CODE_FLAGS: u64 = 2 | 4;

struct Section {
    name: &'static str,
    kind: u32,
    flags: u64,
    octets: Vec<u8>,
}

/// An ELF file of four sections.
pub(super) fn object() -> Vec<u8> {
    let section = |name, kind, flags, octets: &[u8]| Section { name, kind, flags, octets: octets.to_vec() };
    let sections = [
        section(".strtab", STRTAB, 0, STRINGS),
        section("xdp", PROGBITS, CODE_FLAGS, &CODE),
        section("license", PROGBITS, 2, b"GPL\0"),
        section(".symtab", SYMTAB, 0, &symbols()),
    ];
    let mut body = Vec::new();
    let mut headers = vec![0; 64];
    for section in &sections {
        headers.extend(section.header(64 + body.len()));
        body.extend(&section.octets);
        body.resize(body.len().next_multiple_of(8), 0);
    }
    let mut file = header(64 + body.len(), sections.len() + 1);
    file.append(&mut body);
    file.append(&mut headers);
    file
}

/// None, and the function in the second section.
fn symbols() -> Vec<u8> {
    let mut all = vec![0; 24];
    all.extend(place(PROGRAM).to_le_bytes());
    // Global, a function; visible; in section 2; from 0 on.
    all.extend([0x12, 0, 2, 0]);
    all.extend(0u64.to_le_bytes());
    all.extend((CODE.len() as u64).to_le_bytes());
    all
}

/// Where a name stands among the strings.
fn place(name: &str) -> u32 {
    let found = STRINGS.windows(name.len() + 1).position(|at| at.strip_suffix(b"\0") == Some(name.as_bytes()));
    found.unwrap_or_default() as u32
}

impl Section {
    fn header(&self, offset: usize) -> Vec<u8> {
        // The symbols' strings are in section 1, and the first global one is number 1.
        let (link, entry) = if self.kind == SYMTAB { (1, 24) } else { (0, 0) };
        let mut all = Vec::new();
        all.extend(place(self.name).to_le_bytes());
        all.extend(self.kind.to_le_bytes());
        all.extend([self.flags, 0, offset as u64, self.octets.len() as u64].map(u64::to_le_bytes).concat());
        all.extend([u32::from(link == 1), link].map(u32::to_le_bytes).concat());
        all.extend([8, entry].map(u64::to_le_bytes).concat());
        all
    }
}

/// ELF64, little-endian, relocatable.
fn header(sections_at: usize, sections: usize) -> Vec<u8> {
    let mut all = vec![0x7f, b'E', b'L', b'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    all.extend([1u16.to_le_bytes(), EM_BPF.to_le_bytes()].concat());
    all.extend(1u32.to_le_bytes());
    all.extend([0, 0, sections_at as u64].map(u64::to_le_bytes).concat());
    all.extend(0u32.to_le_bytes());
    all.extend([64, 0, 0, 64, sections as u16, 1].map(u16::to_le_bytes).concat());
    all
}
