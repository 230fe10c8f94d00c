package weir;

import java.io.IOException;
import java.io.InputStream;
import java.net.URI;
import java.net.URLEncoder;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.Provider;
import java.security.Security;
import java.time.Duration;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionStage;
import java.util.concurrent.ConcurrentHashMap;
import java.util.function.Function;
import java.util.stream.Collectors;
import javax.security.auth.Subject;
import javax.security.auth.callback.Callback;
import javax.security.auth.callback.CallbackHandler;
import javax.security.auth.callback.UnsupportedCallbackException;
import javax.security.auth.login.AppConfigurationEntry;
import javax.security.auth.spi.LoginModule;
import javax.security.sasl.SaslException;
import javax.security.sasl.SaslServer;
import javax.security.sasl.SaslServerFactory;
import org.apache.kafka.common.Endpoint;
import org.apache.kafka.common.acl.AclBinding;
import org.apache.kafka.common.acl.AclBindingFilter;
import org.apache.kafka.common.acl.AclOperation;
import org.apache.kafka.common.errors.SaslAuthenticationException;
import org.apache.kafka.common.resource.PatternType;
import org.apache.kafka.common.resource.ResourcePattern;
import org.apache.kafka.common.resource.ResourceType;
import org.apache.kafka.common.security.auth.AuthenticateCallbackHandler;
import org.apache.kafka.common.security.oauthbearer.OAuthBearerToken;
import org.apache.kafka.common.security.oauthbearer.OAuthBearerValidatorCallback;
import org.apache.kafka.server.authorizer.AclCreateResult;
import org.apache.kafka.server.authorizer.AclDeleteResult;
import org.apache.kafka.server.authorizer.Action;
import org.apache.kafka.server.authorizer.AuthorizableRequestContext;
import org.apache.kafka.server.authorizer.AuthorizationResult;
import org.apache.kafka.server.authorizer.Authorizer;
import org.apache.kafka.server.authorizer.AuthorizerServerInfo;

/**
 * Logins and permissions by IAM, as brokers of Amazon MSK have them, for one listener of Apache Kafka.
 *
 * <p>Amazon MSK Developer Guide, "IAM access control"; aws-msk-iam-auth (mechanism AWS_MSK_IAM) and
 * aws-msk-iam-sasl-signer (mechanism OAUTHBEARER). What a login or a request is worth is the local
 * AWS's to say: the principal of a connection is the access key by which its login was signed.
 */
public final class Iam {
    /** Kafka's setting with the file that says which AWS is asked about which cluster. */
    static final String ASKED = "weir.iam.asked";
    static final String LISTENER = "IAM";
    static final String MECHANISM = "AWS_MSK_IAM";

    private Iam() {}

    /** The local AWS's answer: a text that is what was asked for, or why not. */
    record Answer(boolean good, String text) {}

    /** Asks the local AWS, by a file that is read anew each time: brokers are there before clusters. */
    record Aws(Path file) {
        private static final HttpClient CLIENT =
                HttpClient.newBuilder().version(HttpClient.Version.HTTP_1_1).build();
        private static final Duration PATIENCE = Duration.ofSeconds(10);

        static Aws of(Map<String, ?> settings) {
            return new Aws(Path.of(String.valueOf(settings.get(ASKED))));
        }

        Answer login(byte[] shown) {
            return ask("login", Map.of(), shown);
        }

        Answer access(String key, String action, String kind, String name) {
            return ask("access", Map.of("key", key, "action", action, "kind", kind, "name", name), new byte[0]);
        }

        private Answer ask(String what, Map<String, String> more, byte[] body) {
            Properties known = new Properties();
            try (InputStream text = Files.newInputStream(file)) {
                known.load(text);
            } catch (IOException unknown) {
                return new Answer(false, "this broker is of no MSK cluster");
            }
            String query = more.entrySet().stream()
                    .map(each -> each.getKey() + "=" + URLEncoder.encode(each.getValue(), StandardCharsets.UTF_8))
                    .collect(Collectors.joining("&", "?cluster=" + known.getProperty("cluster") + "&", ""));
            URI asked = URI.create(known.getProperty("endpoint") + "/weir/brokers/" + what + query);
            HttpRequest request = HttpRequest.newBuilder(asked)
                    .header("Authorization", known.getProperty("authorization"))
                    .timeout(PATIENCE)
                    .POST(HttpRequest.BodyPublishers.ofByteArray(body))
                    .build();
            try {
                HttpResponse<String> told = CLIENT.send(request, HttpResponse.BodyHandlers.ofString());
                return new Answer(told.statusCode() == 200, told.body());
            } catch (IOException gone) {
                return new Answer(false, "the local AWS does not answer: " + gone);
            } catch (InterruptedException ended) {
                Thread.currentThread().interrupt();
                return new Answer(false, "the broker ends");
            }
        }
    }

    /** Judges tokens: those of OAUTHBEARER as Kafka's own server hands them over, and what {@link Server} got. */
    public static final class Tokens implements AuthenticateCallbackHandler {
        private Aws aws;

        @Override
        public void configure(Map<String, ?> settings, String mechanism, List<AppConfigurationEntry> entries) {
            aws = Aws.of(settings);
        }

        @Override
        public void handle(Callback[] callbacks) throws UnsupportedCallbackException {
            for (Callback each : callbacks) {
                if (each instanceof Shown shown) {
                    shown.answer = aws.login(shown.bytes);
                } else if (each instanceof OAuthBearerValidatorCallback asked) {
                    Answer answer = aws.login(asked.tokenValue().getBytes(StandardCharsets.UTF_8));
                    if (answer.good) {
                        asked.token(new Token(asked.tokenValue(), answer.text));
                    } else {
                        asked.error("invalid_token", null, null);
                    }
                } else {
                    throw new UnsupportedCallbackException(each);
                }
            }
        }

        @Override
        public void close() {}
    }

    /** What a client showed, and what it is worth. */
    static final class Shown implements Callback {
        private final byte[] bytes;
        private Answer answer;

        Shown(byte[] bytes) {
            this.bytes = bytes;
        }
    }

    /** A token that was found good: the local AWS told the access key, and the millisecond of its end. */
    record Token(String value, String told) implements OAuthBearerToken {
        @Override
        public String principalName() {
            return told.split(" ")[0];
        }

        @Override
        public long lifetimeMs() {
            return Long.parseLong(told.split(" ")[1]);
        }

        @Override
        public Set<String> scope() {
            return Set.of();
        }

        @Override
        public Long startTimeMs() {
            return null;
        }
    }

    /** The server of AWS_MSK_IAM: the client shows a signed document, and gets one back. */
    static final class Server implements SaslServer {
        private final CallbackHandler tokens;
        private String key;

        Server(CallbackHandler tokens) {
            this.tokens = tokens;
        }

        @Override
        public byte[] evaluateResponse(byte[] response) throws SaslException {
            Shown shown = new Shown(response);
            try {
                tokens.handle(new Callback[] {shown});
            } catch (IOException | UnsupportedCallbackException unexpected) {
                throw new SaslException("the login cannot be looked at", unexpected);
            }
            if (!shown.answer.good) {
                throw new SaslAuthenticationException("Access denied: " + shown.answer.text);
            }
            key = shown.answer.text.split(" ")[0];
            return "{\"version\":\"2020_10_22\",\"request-id\":\"local\"}".getBytes(StandardCharsets.UTF_8);
        }

        @Override
        public String getMechanismName() {
            return MECHANISM;
        }

        @Override
        public boolean isComplete() {
            return key != null;
        }

        @Override
        public String getAuthorizationID() {
            return key;
        }

        @Override
        public Object getNegotiatedProperty(String name) {
            return null;
        }

        @Override
        public byte[] wrap(byte[] bytes, int offset, int size) {
            throw new IllegalStateException("TLS alone encrypts");
        }

        @Override
        public byte[] unwrap(byte[] bytes, int offset, int size) {
            throw new IllegalStateException("TLS alone encrypts");
        }

        @Override
        public void dispose() {}
    }

    /** Makes {@link Server}s for Java's SASL. */
    public static final class Servers implements SaslServerFactory {
        @Override
        public SaslServer createSaslServer(
                String mechanism, String protocol, String server, Map<String, ?> settings, CallbackHandler handler) {
            return MECHANISM.equals(mechanism) ? new Server(handler) : null;
        }

        @Override
        public String[] getMechanismNames(Map<String, ?> settings) {
            return new String[] {MECHANISM};
        }
    }

    /** Kafka loads one for each mechanism: the place to make it known to Java. */
    public static final class Login implements LoginModule {
        static {
            Security.addProvider(new Mechanisms());
        }

        @Override
        public void initialize(Subject subject, CallbackHandler handler, Map<String, ?> shared, Map<String, ?> options) {}

        @Override
        public boolean login() {
            return true;
        }

        @Override
        public boolean commit() {
            return true;
        }

        @Override
        public boolean abort() {
            return false;
        }

        @Override
        public boolean logout() {
            return true;
        }
    }

    private static final class Mechanisms extends Provider {
        Mechanisms() {
            super("WeirMskIam", "1", "SASL by IAM");
            put("SaslServerFactory." + MECHANISM, Servers.class.getName());
        }
    }

    /**
     * Lets those who entered by IAM do what their policies allow, and all others everything.
     *
     * <p>Amazon MSK Developer Guide, "Semantics of IAM authorization policy actions and resources".
     */
    public static final class Judge implements Authorizer {
        private static final long KEPT_NANOS = Duration.ofSeconds(1).toNanos();
        private static final Map<ResourceType, Map<AclOperation, String>> ACTIONS = Map.of(
                ResourceType.CLUSTER, Map.of(
                        AclOperation.DESCRIBE, "DescribeCluster",
                        AclOperation.ALTER, "AlterCluster",
                        AclOperation.DESCRIBE_CONFIGS, "DescribeClusterDynamicConfiguration",
                        AclOperation.ALTER_CONFIGS, "AlterClusterDynamicConfiguration",
                        AclOperation.IDEMPOTENT_WRITE, "WriteDataIdempotently"),
                ResourceType.TOPIC, Map.of(
                        AclOperation.DESCRIBE, "DescribeTopic",
                        AclOperation.READ, "ReadData",
                        AclOperation.WRITE, "WriteData",
                        AclOperation.CREATE, "CreateTopic",
                        AclOperation.ALTER, "AlterTopic",
                        AclOperation.DELETE, "DeleteTopic",
                        AclOperation.DESCRIBE_CONFIGS, "DescribeTopicDynamicConfiguration",
                        AclOperation.ALTER_CONFIGS, "AlterTopicDynamicConfiguration"),
                ResourceType.GROUP, Map.of(
                        AclOperation.DESCRIBE, "DescribeGroup",
                        AclOperation.READ, "AlterGroup",
                        AclOperation.DELETE, "DeleteGroup"),
                ResourceType.TRANSACTIONAL_ID, Map.of(
                        AclOperation.DESCRIBE, "DescribeTransactionalId",
                        AclOperation.WRITE, "AlterTransactionalId"));

        private record Kept(boolean allowed, long since) {}

        private final Map<String, Kept> kept = new ConcurrentHashMap<>();
        private Aws aws;

        @Override
        public void configure(Map<String, ?> settings) {
            aws = Aws.of(settings);
        }

        @Override
        public Map<Endpoint, ? extends CompletionStage<Void>> start(AuthorizerServerInfo server) {
            return server.endpoints().stream().collect(
                    Collectors.toMap(Function.identity(), each -> CompletableFuture.<Void>completedFuture(null)));
        }

        @Override
        public List<AuthorizationResult> authorize(AuthorizableRequestContext context, List<Action> actions) {
            if (!LISTENER.equals(context.listenerName())) {
                return Collections.nCopies(actions.size(), AuthorizationResult.ALLOWED);
            }
            String key = context.principal().getName();
            return actions.stream()
                    .map(each -> allowed(key, each) ? AuthorizationResult.ALLOWED : AuthorizationResult.DENIED)
                    .toList();
        }

        @Override
        public AuthorizationResult authorizeByResourceType(
                AuthorizableRequestContext context, AclOperation operation, ResourceType type) {
            ResourcePattern cluster = new ResourcePattern(ResourceType.CLUSTER, "kafka-cluster", PatternType.LITERAL);
            return authorize(context, List.of(new Action(AclOperation.IDEMPOTENT_WRITE, cluster, 1, true, true))).get(0);
        }

        private boolean allowed(String key, Action asked) {
            ResourcePattern where = asked.resourcePattern();
            String action = ACTIONS.getOrDefault(where.resourceType(), Map.of()).get(asked.operation());
            if (action == null) {
                return false;
            }
            String question = String.join(" ", key, action, where.resourceType().name(), where.name());
            long now = System.nanoTime();
            Kept known = kept.get(question);
            if (known == null || now - known.since > KEPT_NANOS) {
                String kind = where.resourceType().name().toLowerCase().replace('_', '-');
                known = new Kept(aws.access(key, "kafka-cluster:" + action, kind, where.name()).good, now);
                kept.put(question, known);
            }
            return known.allowed;
        }

        @Override
        public List<? extends CompletionStage<AclCreateResult>> createAcls(
                AuthorizableRequestContext context, List<AclBinding> bindings) {
            throw new UnsupportedOperationException("policies of IAM take the place of ACLs");
        }

        @Override
        public List<? extends CompletionStage<AclDeleteResult>> deleteAcls(
                AuthorizableRequestContext context, List<AclBindingFilter> filters) {
            throw new UnsupportedOperationException("policies of IAM take the place of ACLs");
        }

        @Override
        public Iterable<AclBinding> acls(AclBindingFilter filter) {
            return List.of();
        }

        @Override
        public void close() {}
    }
}
