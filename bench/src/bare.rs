//! Objects with XDP programs of a few instructions: no compiler is needed for those.

/// The program's name.
pub(crate) const PROGRAM: &str = "bare";

/// A program that passes everything.
pub(crate) const PASS: [u8; 16] = program([set(0, 2), EXIT]);
/// A program that drops everything.
pub(crate) const DROP: [u8; 16] = program([set(0, 1), EXIT]);

/// A program that sends everything to an interface.
pub(crate) const fn redirect(index: u32) -> [u8; 32] {
    const BPF_REDIRECT: u32 = 23;
    program([set(1, index), set(2, 0), call(BPF_REDIRECT), EXIT])
}

const EXIT: [u8; 8] = [0x95, 0, 0, 0, 0, 0, 0, 0];

/// Sets a register.
const fn set(register: u8, value: u32) -> [u8; 8] {
    let [a, b, c, d] = value.to_le_bytes();
    [0xb7, register, 0, 0, a, b, c, d]
}

const fn call(helper: u32) -> [u8; 8] {
    let [a, b, c, d] = helper.to_le_bytes();
    [0x85, 0, 0, 0, a, b, c, d]
}

const fn program<const N: usize, const OCTETS: usize>(instructions: [[u8; 8]; N]) -> [u8; OCTETS] {
    let mut octets = [0; OCTETS];
    let mut at = 0;
    while at < OCTETS {
        octets[at] = instructions[at / 8][at % 8];
        at += 1;
    }
    octets
}

/// The machine number of BPF in ELF.
const EM_BPF: u16 = 247;

const STRINGS: &[u8] = b"\0.strtab\0xdp\0license\0.symtab\0bare\0";

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
pub(crate) fn object(code: &[u8]) -> Vec<u8> {
    let section = |name, kind, flags, octets: &[u8]| Section { name, kind, flags, octets: octets.to_vec() };
    let sections = [
        section(".strtab", STRTAB, 0, STRINGS),
        section("xdp", PROGBITS, CODE_FLAGS, code),
        section("license", PROGBITS, 2, b"GPL\0"),
        section(".symtab", SYMTAB, 0, &symbols(code.len())),
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
fn symbols(code: usize) -> Vec<u8> {
    let mut all = vec![0; 24];
    all.extend(place(PROGRAM).to_le_bytes());
    // Global, a function; visible; in section 2; from 0 on.
    all.extend([0x12, 0, 2, 0]);
    all.extend(0u64.to_le_bytes());
    all.extend((code as u64).to_le_bytes());
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
