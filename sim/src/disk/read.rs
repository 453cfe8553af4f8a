//! Reads: what is visible of each sector, assembled into one frame.

use chronon::{
    env::DiskOperation,
    frame::{Frame, FrameBuilder, FramePool, SECTOR_SIZE},
    process::DiskError,
};

use super::{
    SimDisk,
    medium::{Content, Damage, Medium, SECTOR, sectors_of},
    speculation::{Shown, Speculation},
    streams::{Purpose, Streams},
    tear::tear,
};

impl SimDisk {
    /// What a read of an aligned range sees.
    pub(super) fn read(&mut self, offset: u64, length: u32, pool: &mut FramePool) -> Result<Frame, DiskError> {
        let first = offset / SECTOR;
        let end = first + u64::from(length) / SECTOR;
        let contested = self.in_flight.writes() > 0 && self.in_flight.iter().any(|flight| reaches(flight, first, end));
        let mut assembly = Assembly { length: length as usize, done: 0, builder: None, pool };
        for sector in first..end {
            let content = visible(&self.medium, &self.speculation, &mut self.streams, sector);
            if contested {
                let content = self.glimpse(sector, content.cloned()).ok_or(DiskError::Read)?;
                assembly.push(&content);
                continue;
            }
            let content = content.ok_or(DiskError::Read)?;
            if length as usize == SECTOR_SIZE
                && let Some(frame) = content.frame()
                && frame.len() == SECTOR_SIZE
            {
                return Ok(frame.clone());
            }
            assembly.push(content);
        }
        Ok(assembly.finish(&mut self.zeros))
    }

    /// What reads see of `sector` if they do not flip: the newest content that is not in doubt, or in doubt and shown.
    pub(super) fn newest(&self, sector: u64) -> Option<&Content> {
        let versions = self.speculation.versions(sector);
        match versions.iter().rfind(|version| version.doubt != Some(Shown::Never)) {
            Some(version) => Some(&version.content),
            None => readable(&self.medium, sector),
        }
    }

    /// What a read sees of a sector that may be being written at this moment: what is there, what will be, or some of both.
    fn glimpse(&mut self, sector: u64, there: Option<Content>) -> Option<Content> {
        let mut seen = there;
        for flight in self.in_flight.iter() {
            let Some((data, place)) = flight.writes(sector) else { continue };
            let coming = Content::of(data, place);
            match self.streams.of(Purpose::Order).below(4) {
                0 => seen = Some(coming),
                1 => {
                    if let Some(there) = seen {
                        let mut bytes = there.to_vec();
                        tear(&mut bytes, &coming.to_vec(), self.streams.of(Purpose::Order));
                        seen = Some(Content::new(bytes));
                    }
                }
                _ => {}
            }
        }
        seen
    }
}

/// Whether `flight` writes to any sector of `first..end`.
fn reaches(flight: &super::in_flight::InFlight, first: u64, end: u64) -> bool {
    let DiskOperation::Write { offset, data, .. } = &flight.operation else { return false };
    let start = offset / SECTOR;
    start < end && first < start + sectors_of(data)
}

/// What a read sees of `sector`; none if it cannot be read.
fn visible<'a>(
    medium: &'a Medium,
    speculation: &'a Speculation,
    streams: &mut Streams,
    sector: u64,
) -> Option<&'a Content> {
    for version in speculation.versions(sector).iter().rev() {
        let shown = match version.doubt {
            None | Some(Shown::Always) => true,
            Some(Shown::Never) => false,
            Some(Shown::Flipping) => streams.coin(Purpose::Doubt),
        };
        if shown {
            return Some(&version.content);
        }
    }
    readable(medium, sector)
}

fn readable(medium: &Medium, sector: u64) -> Option<&Content> {
    (medium.damaged(sector) != Some(Damage::Unreadable)).then(|| medium.content(sector))
}

/// A frame being put together from sectors. Zeros are written only between others.
struct Assembly<'a> {
    length: usize,
    done: usize,
    /// None while all are zeros.
    builder: Option<FrameBuilder>,
    pool: &'a mut FramePool,
}

impl Assembly<'_> {
    fn push(&mut self, content: &Content) {
        if let Some(frame) = content.frame() {
            let bytes = self.builder.get_or_insert_with(|| self.pool.builder_of(self.length)).bytes();
            bytes.resize(self.done, 0);
            bytes.extend_from_slice(frame);
        }
        self.done += SECTOR_SIZE;
    }

    /// The frame; one of zeros alone shares the buffer of all such frames.
    fn finish(self, zeros: &mut Option<Frame>) -> Frame {
        if let Some(mut builder) = self.builder {
            builder.bytes().resize(self.length, 0);
            return builder.finish();
        }
        match zeros {
            Some(zeros) if zeros.len() >= self.length => zeros.slice(0, self.length),
            _ => zeros.insert(Frame::new(vec![0; self.length])).clone(),
        }
    }
}
