use super::{DecodeError, Header, TunnelOption};

/// The options that a Gateway Load Balancer puts into each header. An appliance returns them
/// unchanged.
///
/// Source: AWS's `aws-gateway-load-balancer-tunnel-handler`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AwsOptions {
    /// The id of the endpoint at which the packet entered.
    pub endpoint_id: u64,
    /// The id of the attachment through which it entered.
    pub attachment_id: u64,
    /// The load balancer's cookie for the packet's flow.
    pub flow_cookie: u32,
}

const CLASS: u16 = 0x0108;
const ENDPOINT_ID: u8 = 1;
const ATTACHMENT_ID: u8 = 2;
const FLOW_COOKIE: u8 = 3;

impl AwsOptions {
    /// The bytes that GENEVE with these options adds to an inner packet: the header is 40 bytes
    /// long, UDP's 8 and IPv4's 20.
    pub const OVERHEAD: usize = 68;

    /// Returns a header with these options, as it is on the wire, for a payload of the EtherType
    /// `protocol`. The number of the virtual network is 0.
    #[must_use]
    pub fn encode(&self, protocol: u16) -> [u8; 40] {
        let mut header = [0; 40];
        // 8 words of options; neither a control message nor a critical option.
        header[0] = 8;
        header[2..4].copy_from_slice(&protocol.to_be_bytes());
        header[8..12].copy_from_slice(&option_header(ENDPOINT_ID, 2));
        header[12..20].copy_from_slice(&self.endpoint_id.to_be_bytes());
        header[20..24].copy_from_slice(&option_header(ATTACHMENT_ID, 2));
        header[24..32].copy_from_slice(&self.attachment_id.to_be_bytes());
        header[32..36].copy_from_slice(&option_header(FLOW_COOKIE, 1));
        header[36..40].copy_from_slice(&self.flow_cookie.to_be_bytes());
        header
    }

    /// Reads the options of a header. Other options are ignored, unless they are critical.
    ///
    /// # Errors
    ///
    /// Returns an error if one of the three options is missing, has the wrong length or is there
    /// twice, and if the header has a critical option besides.
    pub fn of(header: &Header) -> Result<Self, DecodeError> {
        let (mut endpoint_id, mut attachment_id, mut flow_cookie) = (None, None, None);
        for option in header.options() {
            let is_new = match (option.class, option.kind) {
                (CLASS, ENDPOINT_ID) => endpoint_id.replace(u64_of(&option)?).is_none(),
                (CLASS, ATTACHMENT_ID) => attachment_id.replace(u64_of(&option)?).is_none(),
                (CLASS, FLOW_COOKIE) => {
                    let bytes = option.data.try_into().map_err(|_| DecodeError::InvalidOption)?;
                    flow_cookie.replace(u32::from_be_bytes(bytes)).is_none()
                }
                (class, kind) if option.is_critical() => {
                    return Err(DecodeError::UnknownCriticalOption { class, kind });
                }
                _ => true,
            };
            if !is_new {
                return Err(DecodeError::InvalidOption);
            }
        }
        match (endpoint_id, attachment_id, flow_cookie) {
            (Some(endpoint_id), Some(attachment_id), Some(flow_cookie)) => {
                Ok(Self { endpoint_id, attachment_id, flow_cookie })
            }
            _ => Err(DecodeError::MissingOption),
        }
    }
}

fn option_header(kind: u8, words: u8) -> [u8; 4] {
    let [high, low] = CLASS.to_be_bytes();
    [high, low, kind, words]
}

fn u64_of(option: &TunnelOption<'_>) -> Result<u64, DecodeError> {
    let bytes = option.data.try_into().map_err(|_| DecodeError::InvalidOption)?;
    Ok(u64::from_be_bytes(bytes))
}
